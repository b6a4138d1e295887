module braid/examples

go 1.25.0

require (
	google.golang.org/protobuf v1.36.12
	storj.io/drpc v0.0.34
)

require (
	braid v0.0.0
	github.com/zeebo/errs v1.4.0 // indirect
)

replace braid => ../
