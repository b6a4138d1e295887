module braid/bench

go 1.25.0

require (
	braid v0.0.0
	storj.io/drpc v0.0.34
)

require github.com/zeebo/errs v1.4.0 // indirect

replace braid => ../
