// Package job holds the work that is measured. A job is made ready outside
// the measured time, run as often as needed, and closed.
package job

import (
	"context"
	"fmt"

	"braid/bench/internal/figures"
	"braid/bench/internal/latency"
	"braid/bench/internal/stack"
)

// Job does a unit of work again and again.
type Job interface {
	// Run does the unit n times and returns once all of it is done and
	// acknowledged by the other side. It is for one goroutine at a time.
	Run(n int) error
	// Close releases what the job holds. It does not close the client.
	Close() error
}

// Load is what a job is made of.
type Load struct {
	// Client is what the job works with.
	Client stack.Client
	// Callers is how many callers or streams there are at once.
	Callers int
	// Size is the size of a payload in bytes, at least blob.MinSize.
	Size int
	// Latencies takes how long each unit takes, where a unit is not a message
	// one way. It may be nil.
	Latencies *latency.Recorder
}

// Kind is a sort of work.
type Kind struct {
	// Name is the name of the kind, as in BenchmarkName.
	Name string
	// Unit is what is counted.
	Unit string
	// Who names what there may be many of at once.
	Who string
	// OneWay says that a unit is a message one way, which has no latency that
	// one end alone could tell.
	OneWay bool
	// New makes a job. What it starts ends with ctx at the latest.
	New func(ctx context.Context, load Load) (Job, error)

	conns bool            // the number of callers is that of connections
	needs []stack.Feature // with any number of callers
	many  []stack.Feature // with more than one
	extra int             // calls and streams at once besides the callers
	size  int             // of the messages of those
}

// The kinds of work.
var (
	// Unary is calls.
	Unary = Kind{Name: "Unary", Unit: "call", Who: "callers", New: newUnary,
		needs: []stack.Feature{stack.Unary}}
	// Upload is messages from the client to the server.
	Upload = Kind{Name: "Upload", Unit: "message", Who: "streams", New: newUpload, OneWay: true,
		needs: []stack.Feature{stack.Upload}, many: []stack.Feature{stack.Concurrent}}
	// Download is messages from the server to the client.
	Download = Kind{Name: "Download", Unit: "message", Who: "streams", New: newDownload, OneWay: true,
		needs: []stack.Feature{stack.Download}, many: []stack.Feature{stack.Concurrent}}
	// PingPong is a message and its answer on a stream that stays open.
	PingPong = Kind{Name: "PingPong", Unit: "round trip", Who: "streams", New: newPingPong,
		needs: []stack.Feature{stack.Duplex}, many: []stack.Feature{stack.Concurrent}}
	// OpenClose is streams that are opened, used for a message and its answer,
	// and closed. Where a stack has one stream at a time, they take turns.
	OpenClose = Kind{Name: "OpenClose", Unit: "stream", Who: "streams", New: newOpenClose,
		needs: []stack.Feature{stack.Duplex}}
	// Mixed is calls beside BulkStreams uploads of messages of BulkSize bytes,
	// which go on all the time.
	Mixed = Kind{Name: "Mixed", Unit: "call", Who: "callers", New: newMixed,
		needs: []stack.Feature{stack.Unary, stack.Upload, stack.Concurrent}, extra: BulkStreams, size: BulkSize}
	// Idle is calls of IdleCallers callers beside streams that are open and do
	// nothing.
	Idle = Kind{Name: "Idle", Unit: "call", Who: "streams", New: newIdle,
		needs: []stack.Feature{stack.Unary, stack.Duplex, stack.Concurrent}, extra: IdleCallers}
	// Connections is calls of ConnectionCallers callers, who share a number of
	// connections.
	Connections = Kind{Name: "Connections", Unit: "call", Who: "connections", New: newConnections,
		needs: []stack.Feature{stack.Unary, stack.Several}, conns: true}
)

// Kinds returns all kinds of work.
func Kinds() []Kind {
	return []Kind{Unary, Upload, Download, PingPong, OpenClose, Mixed, Idle, Connections}
}

// Named returns the kind of that name.
func Named(name string) (Kind, error) {
	var names []string
	for _, k := range Kinds() {
		if k.Name == name {
			return k, nil
		}
		names = append(names, k.Name)
	}
	return Kind{}, fmt.Errorf("work %q is none of %v", name, names)
}

// Check returns nil if the stack can do the work, and why not otherwise.
func (k Kind) Check(st stack.Stack, callers, size int) error {
	if callers < 1 {
		return fmt.Errorf("%d %s, and there have to be some", callers, k.Who)
	}
	if size < stack.MinSize || size > stack.MaxSize {
		return fmt.Errorf("messages of %d bytes, and they have to have %d to %d", size, stack.MinSize, stack.MaxSize)
	}
	features := k.needs
	if callers > 1 {
		features = append(features[:len(features):len(features)], k.many...)
	}
	if err := st.Check(features...); err != nil {
		return err
	}
	setup := k.Setup(callers, size)
	if most := stack.MaxConns(); setup.Conns > most {
		return fmt.Errorf("%d connections, and the descriptor limit allows %d", setup.Conns, most)
	}
	if st.MaxSize > 0 && setup.Size > st.MaxSize {
		return fmt.Errorf("stack %s: messages of at most %d bytes", st.Name, st.MaxSize)
	}
	// Calls share what there is; streams that stay open cannot.
	if k.Name != Unary.Name && !k.conns && st.MaxStreams > 0 && setup.Callers > st.MaxStreams {
		return fmt.Errorf("stack %s: %d streams and calls at once, and no more than %d are possible here",
			st.Name, setup.Callers, st.MaxStreams)
	}
	return nil
}

// Setup returns what a stack has to be ready for.
func (k Kind) Setup(callers, size int) stack.Setup {
	if k.conns {
		return stack.Setup{Callers: ConnectionCallers, Size: size, Conns: callers}
	}
	return stack.Setup{Callers: callers + k.extra, Size: max(size, k.size)}
}

// Case names the kind at a concurrency and a size, as in
// BenchmarkName/callers=1/size=16B without the first word.
func (k Kind) Case(callers, size int) string {
	return fmt.Sprintf("%s=%d/size=%s", k.Who, callers, figures.SizeName(size))
}
