module braid

go 1.25.0

require (
	github.com/zeebo/errs v1.4.0
	storj.io/drpc v0.0.34
)

require github.com/zeebo/assert v1.3.1
