module braid/bench

go 1.25.0

require (
	braid v0.0.0
	github.com/HdrHistogram/hdrhistogram-go v1.4.0
	google.golang.org/grpc v1.84.0
	storj.io/drpc v0.0.34
)

require (
	github.com/zeebo/errs v1.4.0 // indirect
	golang.org/x/net v0.57.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	golang.org/x/text v0.40.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260706201446-f0a921348800 // indirect
	google.golang.org/protobuf v1.36.11 // indirect
)

replace braid => ../
