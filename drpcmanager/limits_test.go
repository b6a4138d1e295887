package drpcmanager_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"
	"storj.io/drpc/drpcmetadata"

	"braid/drpcmanager"
	"braid/drpcstream"
	"braid/drpcwire"
	"braid/internal/drpctest"
)

// overLimit is a server whose client is known and keeps to its credit, driven by
// hand. Stream 1 is open; what happens to others must not touch it.
type overLimit struct {
	*drpctest.Peer
	t   *testing.T
	man *drpcmanager.Manager
	acc *accepted
	msg int // id of the last message on stream 1
}

// acknowledgement is what a client sends that has got its server's settings.
const acknowledgement = `s0 m0 Settings "\x01\x01\x05\x02" ctl`

func newOverLimit(t *testing.T, opts drpcmanager.Options) *overLimit {
	t.Helper()
	man, peer, acc := newServer(t, opts)
	peer.Send(`s1 m1 Invoke "/other"`, `s1 m2 `+settings)
	if got, _ := peer.Next(); !strings.HasPrefix(got, "s1 m1 Settings") {
		t.Fatalf("the server answers %s", got)
	}
	peer.Send(acknowledgement)
	synctest.Wait()
	return &overLimit{Peer: peer, t: t, man: man, acc: acc, msg: 900}
}

// newCreditClient is a client with stream 1 open, whose server is known and gives
// credit.
func newCreditClient(t *testing.T, opts drpcmanager.Options) (*drpcmanager.Manager, *drpctest.Peer, *drpcstream.Stream) {
	t.Helper()
	man, peer, _ := newClient(t, opts)
	s := open(t, man, t.Context(), "/other")
	peer.Expect(`s1 m1 Invoke "/other"`)
	if got, _ := peer.Next(); !strings.HasPrefix(got, "s1 m2 Settings") {
		t.Fatalf("the client announces itself by %s", got)
	}
	peer.Send(`s1 m1 ` + serverSettings)
	synctest.Wait()
	return man, peer, s
}

// lives checks that the connection and its stream 1 live.
func (o *overLimit) lives() {
	o.t.Helper()
	synctest.Wait()
	if o.man.Err() != nil {
		o.t.Fatalf("the connection has ended: %v", o.man.Err())
	}
	o.msg++
	o.Send(fmt.Sprintf(`s1 m%d Message "hello"`, o.msg))
	for {
		got, err := drpctest.Recv(o.acc.get(o.t, 0))
		if err != nil {
			o.t.Fatalf("the other stream got %v", err)
		}
		if got == "hello" {
			return
		}
	}
}

// told waits for an Error frame of a stream with this code and text.
func (o *overLimit) told(stream int, code byte, text string) {
	o.t.Helper()
	got, _ := o.Next()
	want := fmt.Sprintf(` Error "\x00\x00\x00\x00\x00\x00\x00\%s%s"`, map[byte]string{4: "x04", 8: "b"}[code], text)
	if !strings.HasPrefix(got, fmt.Sprintf("s%d m", stream)) || !strings.HasSuffix(got, want) {
		o.t.Errorf("the peer is told %s\nwant%s", got, want)
	}
}

// ended waits for the end of the connection for this reason, which the peer is told.
func (o *overLimit) ended(text string) {
	o.t.Helper()
	for {
		got, ok := o.Next()
		if !ok {
			o.t.Error("the peer is not told why")
			break
		}
		if strings.Contains(got, " GoAway ") {
			if !strings.Contains(got, text) {
				o.t.Errorf("the peer is told %s, want %s", got, text)
			}
			o.ExpectClosed()
			break
		}
	}
	synctest.Wait()
	endedFor(o.t, o.man, text)
	if _, err := drpctest.Recv(o.acc.get(o.t, 0)); !errors.As(err, new(*drpcmanager.LostError)) {
		o.t.Errorf("the other stream got %v", err)
	}
}

// endedFor checks why a connection has ended.
func endedFor(t *testing.T, man *drpcmanager.Manager, text string) {
	t.Helper()
	var lost *drpcmanager.LostError
	if err := man.Err(); !errors.As(err, &lost) || !drpc.ClosedError.Has(err) || !strings.Contains(lost.Cause.Error(), text) {
		t.Errorf("the connection ended by %v, want %s", err, text)
	}
}

// bubble runs a test in virtual time.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

func TestAMessageOverTheLimitIsRefusedWhateverItsFrames(t *testing.T) {
	const limit = 100_000
	opts := drpcmanager.Options{Reader: drpcwire.ReaderOptions{MaximumBufferSize: limit}, Window: drpcmanager.Window{Initial: 1 << 20, Total: -1}}
	shapes := map[string]func(n int) [][]byte{
		"one frame": func(n int) [][]byte { return [][]byte{data(drpcwire.KindMessage, 3, 5, n, true)} },
		"two frames": func(n int) [][]byte {
			return [][]byte{data(drpcwire.KindMessage, 3, 5, 1000, false), data(drpcwire.KindMessage, 3, 5, n-1000, true)}
		},
		"never done": func(n int) [][]byte {
			return [][]byte{data(drpcwire.KindMessage, 3, 5, 50_000, false), data(drpcwire.KindMessage, 3, 5, n-50_000, false)}
		},
		"merely a header": func(n int) [][]byte { return [][]byte{data(drpcwire.KindMessage, 3, 5, n, true)[:70_000]} },
	}
	for name, shape := range shapes {
		bubble(t, "server/"+name, func(t *testing.T) {
			o := newOverLimit(t, opts)
			o.Send(`s3 m1 Invoke "/large"`)
			for _, fr := range shape(limit + 1) {
				o.SendRaw(fr)
			}
			o.told(3, drpcwire.CodeResourceExhausted, "drpc: received message exceeds the limit of 100000 bytes")
			if _, err := drpctest.Recv(o.acc.get(t, 1)); !resourceExhausted(err) {
				t.Errorf("the handler got %v", err)
			}
			if name == "merely a header" {
				o.SendRaw(bytes.Repeat([]byte("x"), limit+1+len(data(drpcwire.KindMessage, 3, 5, 0, true))+2-70_000))
			}
			o.lives()
		})
		bubble(t, "client/"+name, func(t *testing.T) {
			man, peer, other := newCreditClient(t, opts)
			s := open(t, man, t.Context(), "/large")
			peer.Expect(`s3 m1 Invoke "/large"`)
			for _, fr := range shape(limit + 1) {
				peer.SendRaw(fr)
			}
			peer.Expect(`s3 m2 Cancel ctl`)
			if _, err := drpctest.Recv(s); !resourceExhausted(err) {
				t.Errorf("the caller got %v", err)
			}
			if name == "merely a header" {
				peer.SendRaw(bytes.Repeat([]byte("x"), limit+1+len(data(drpcwire.KindMessage, 3, 5, 0, true))+2-70_000))
			}
			peer.Send(`s1 m900 Message "hello"`)
			if got, err := drpctest.Recv(other); got != "hello" || err != nil {
				t.Errorf("the other stream got %q, %v", got, err)
			}
		})
	}
	bubble(t, "at the limit", func(t *testing.T) {
		o := newOverLimit(t, opts)
		o.Send(`s3 m1 Invoke "/large"`)
		for msg, name := range []string{"one frame", "two frames"} {
			for _, fr := range shapes[name](limit) {
				fr[2] += byte(msg) // the message id
				o.SendRaw(fr)
			}
			synctest.Wait()
			if got, err := drpctest.Recv(o.acc.get(t, 1)); len(got) != limit || err != nil {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}
	})
}

// pairsOf encodes n pairs of metadata.
func pairsOf(n int) (buf []byte) {
	for i := range n {
		one, _ := drpcmetadata.Encode(nil, map[string]string{fmt.Sprint("key", i): "v"})
		buf = append(buf, one...)
	}
	return buf
}

func openWith(stream uint64, metadata []byte, rpc string) []byte {
	buf := drpcwire.AppendFrame(nil, drpcwire.Frame{
		ID: drpcwire.ID{Stream: stream, Message: 1}, Kind: drpcwire.KindInvokeMetadata, Data: metadata, Done: true,
	})
	return drpcwire.AppendFrame(buf, drpcwire.Frame{
		ID: drpcwire.ID{Stream: stream, Message: 2}, Kind: drpcwire.KindInvoke, Data: []byte(rpc), Done: true,
	})
}

func TestMetadataOfTooManyPairsIsRefusedOnItsStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOverLimit(t, drpcmanager.Options{})
		o.SendRaw(openWith(3, pairsOf(128), "/128"))
		o.SendRaw(openWith(5, pairsOf(129), "/129"))
		// The same key again makes no larger map, and counts all the same.
		o.SendRaw(openWith(7, bytes.Repeat(pairsOf(1), 129), "/again"))
		o.told(5, drpcwire.CodeResourceExhausted, "drpc: metadata of more than 128 pairs")
		o.told(7, drpcwire.CodeResourceExhausted, "drpc: metadata of more than 128 pairs")
		o.lives()
		got, _ := drpcmetadata.Get(o.acc.get(t, 1).Context())
		if names := strings.Join(o.acc.names(), ""); names != "/other/128" || len(got) != 128 {
			t.Errorf("opened %s, with %d pairs", names, len(got))
		}
	})
}

// What is counted is what Decode would make, and never less.
func TestPairsAreCountedAsTheyAreDecoded(t *testing.T) {
	for seed := range uint64(20_000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		n := rng.IntN(6)
		var valid []byte
		for range n {
			long := []int{1, 10, 200, 20_000}[rng.IntN(4)]
			key, value := strings.Repeat("k", rng.IntN(long)), strings.Repeat("v", rng.IntN(long))
			one, err := drpcmetadata.Encode(nil, map[string]string{key: value})
			if err != nil {
				t.Fatal(err)
			}
			valid = append(valid, one...)
		}
		if got := drpcmanager.CountPairs(valid); got != n {
			t.Fatalf("seed %d: %d pairs counted, want %d", seed, got, n)
		}
		if len(valid) > 0 { // what is not quite valid
			valid[rng.IntN(len(valid))] = byte(rng.IntN(256))
			valid = valid[:len(valid)-rng.IntN(2)]
		}
		if got, err := drpcmetadata.Decode(valid); err == nil && drpcmanager.CountPairs(valid) < len(got) {
			t.Fatalf("seed %d: %d pairs counted, and %d decoded", seed, drpcmanager.CountPairs(valid), len(got))
		}
	}
}

func TestIncompleteInvokesAreLimitedInNumberAndTogether(t *testing.T) {
	bubble(t, "number", func(t *testing.T) {
		o := newOverLimit(t, drpcmanager.Options{})
		for i := range 16 {
			o.Send(fmt.Sprintf(`s%d m1 Invoke "/a" more`, 3+2*i))
		}
		o.lives()
		o.Send(`s99 m1 InvokeMetadata "" more`)
		o.ended("more than 16 incomplete invokes")
	})
	bubble(t, "together", func(t *testing.T) {
		o := newOverLimit(t, drpcmanager.Options{})
		for i := range uint64(16) { // 16 KiB and 1 KiB each: 255 KiB with 15 of them
			o.SendRaw(data(drpcwire.KindInvokeMetadata, 3+2*i, 1, 16<<10, true))
			o.SendRaw(data(drpcwire.KindInvoke, 3+2*i, 2, 1<<10, false))
		}
		o.told(33, drpcwire.CodeResourceExhausted, "drpc: incomplete invokes of more than 262144 bytes")
		o.lives()
		o.ExpectNothing()
		o.Send(`s3 m3 Cancel ctl`, `s35 m1 Invoke "/after"`)
		o.lives()
		if names := strings.Join(o.acc.names(), ""); names != "/other/after" {
			t.Errorf("opened %s", names)
		}
	})
	bubble(t, "time", func(t *testing.T) {
		o := newOverLimit(t, drpcmanager.Options{})
		o.Send(`s3 m1 Invoke "/a" more`)
		time.Sleep(10*time.Second - 1)
		o.lives()
		o.ExpectNothing()
		time.Sleep(time.Nanosecond)
		o.told(3, drpcwire.CodeDeadlineExceeded, "invoke incomplete after 10s")
		o.lives()
	})
}

// idleFrames are the frames that achieve nothing, each with what has to come before
// the first that counts.
var idleFrames = map[string]struct {
	before []string
	frame  string
}{
	"empty and not done":         {[]string{`s3 m1 Invoke "/a"`}, `s3 m5 Message "" more`},
	"empty Invoke, not done":     {[]string{`s3 m1 Invoke "" more`}, `s3 m1 Invoke "" more`},
	"unknown control kind":       {nil, `s0 m0 Kind(60) ctl`},
	"unknown kind on a stream":   {nil, `s1 m9 Kind(20) "data" ctl`},
	"reserved kind":              {nil, `s1 m9 Header "data" ctl`},
	"grant without a number":     {nil, `s1 m0 WindowUpdate ctl`},
	"grant of two numbers":       {nil, `s1 m0 WindowUpdate "\x01\x01" ctl`},
	"grant that ends early":      {nil, `s1 m0 WindowUpdate "\x80" ctl`},
	"grant for no stream":        {nil, `s0 m0 WindowUpdate "\x01" ctl`},
	"grant, not done":            {nil, `s1 m0 WindowUpdate "\x01" more ctl`},
	"grant for an unknown id":    {nil, `s99 m0 WindowUpdate "\x01" ctl`},
	"grant beyond ten a frame":   {repeat(10, `s1 m0 WindowUpdate "\x01" ctl`), `s1 m0 WindowUpdate "\x01" ctl`},
	"pong unasked":               {nil, `s0 m0 Pong "12345678" ctl`},
	"ping of seven bytes":        {nil, `s0 m0 Ping "1234567" ctl`},
	"settings again":             {nil, acknowledgement},
	"goaway twice":               {[]string{`s0 m0 GoAway "\x00\x00" ctl`}, `s0 m0 GoAway "\x00\x00" ctl`},
	"message for an unknown id":  {nil, `s99 m1 Message "x"`},
	"cancel of nothing":          {nil, `s99 m1 Cancel ctl`},
	"timeout on a live stream":   {nil, `s1 m9 Timeout "\x01" ctl`},
	"late frames beyond sixteen": {append([]string{`s3 m1 Invoke "/a"`, `s3 m2 Close`}, repeat(16, `s3 m3 Close`)...), `s3 m4 Close`},
}

func repeat(n int, sentence string) (all []string) {
	for range n {
		all = append(all, sentence)
	}
	return all
}

func TestFramesThatAchieveNothingAreCounted(t *testing.T) {
	for name, c := range idleFrames {
		bubble(t, name, func(t *testing.T) {
			o := newOverLimit(t, drpcmanager.Options{Limits: drpcmanager.Limits{IdleFrames: 7}})
			o.Send(c.before...)
			spent := 0
			if strings.Contains(c.frame, `Invoke "" more`) {
				spent = 1 // the one that begins it is empty, too
			}
			o.Send(repeat(7-spent, c.frame)...)
			o.lives()
			o.Send(c.frame)
			o.ended("more than 7 frames that achieve nothing, the last one <frm ")
		})
	}
}

func TestFramesThatMayComeOftenAreNotCounted(t *testing.T) {
	opts := drpcmanager.Options{Limits: drpcmanager.Limits{IdleFrames: 1}}
	bubble(t, "grants of a peer that is not known", func(t *testing.T) {
		man, peer, acc := newServer(t, opts)
		peer.Send(`s1 m1 Invoke "/a"`)
		peer.Send(repeat(2000, `s1 m0 WindowUpdate "\x80\x02" ctl`)...)
		peer.Send(`s1 m2 Message "hello"`)
		synctest.Wait()
		if got, err := drpctest.Recv(acc.get(t, 0)); got != "hello" || err != nil || man.Err() != nil {
			t.Errorf("got %q, %v (%v)", got, err, man.Err())
		}
	})
	bubble(t, "what is on its way when a stream ends", func(t *testing.T) {
		o := newOverLimit(t, opts)
		for id := 3; id < 1000; id += 2 {
			o.Send(fmt.Sprintf(`s%d m1 Invoke "/a"`, id), fmt.Sprintf(`s%d m2 Cancel ctl`, id))
			o.Send(repeat(16, fmt.Sprintf(`s%d m0 WindowUpdate "\x01" ctl`, id))...)
			o.SendRaw(data(drpcwire.KindMessage, uint64(id), 3, 60_000, true))
		}
		o.lives()
	})
	bubble(t, "ten grants for each message", func(t *testing.T) {
		o := newOverLimit(t, opts)
		for range 500 {
			if err := drpctest.Send(o.acc.get(t, 0), "m"); err != nil {
				t.Fatal(err)
			}
			o.Send(repeat(10, `s1 m0 WindowUpdate "\x01" ctl`)...)
		}
		o.lives()
	})
}

// On a client the same frames count, and streams that its server tries to open.
func TestAClientCountsFramesThatAchieveNothing(t *testing.T) {
	for name, frame := range map[string]string{
		"a stream of the server":  `s2 m1 Invoke "/back"`,
		"a message of no stream":  `s99 m1 Message "x"`,
		"a pong unasked":          `s0 m0 Pong "12345678" ctl`,
		"an unknown control kind": `s0 m0 Kind(60) ctl`,
		"empty and not done":      `s1 m5 Message "" more`,
	} {
		bubble(t, name, func(t *testing.T) {
			man, peer, s := newCreditClient(t, drpcmanager.Options{Limits: drpcmanager.Limits{IdleFrames: 7}})
			peer.Send(repeat(7, frame)...)
			synctest.Wait()
			if man.Err() != nil {
				t.Fatalf("the connection has ended: %v", man.Err())
			}
			peer.Send(frame)
			if _, err := drpctest.Recv(s); !errors.As(err, new(*drpcmanager.LostError)) {
				t.Errorf("the stream got %v", err)
			}
			endedFor(t, man, "more than 7 frames that achieve nothing")
		})
	}
}

func TestAThousandIdleFramesAtOnceAndTwoHundredASecond(t *testing.T) {
	const idle = `s0 m0 Kind(60) ctl`
	for _, after := range []time.Duration{0, time.Millisecond, time.Second, 3 * time.Second, time.Hour} {
		bubble(t, after.String(), func(t *testing.T) {
			o := newOverLimit(t, drpcmanager.Options{Keepalive: drpcmanager.Keepalive{Interval: -1}})
			o.Send(repeat(1000, idle)...)
			o.lives()
			time.Sleep(after)
			o.Send(repeat(min(int(200*after.Seconds()), 1000), idle)...)
			o.lives()
			o.Send(idle) // but for what has flowed in since
			o.ended("more than 1000 frames that achieve nothing, the last one <frm s:0 m:0 data:0 kind:Kind(60) done:true>")
		})
	}
}

// A frame may take 30 s to arrive, and so may each 64 KiB of a large one.
func TestAFrameThatComesInPartIsGivenTime(t *testing.T) {
	opts := drpcmanager.Options{
		Window:    drpcmanager.Window{Initial: 2 << 20, Total: -1},
		Keepalive: drpcmanager.Keepalive{Interval: -1}, // nobody answers
	}
	whole := data(drpcwire.KindMessage, 1, 5, 600, true)
	for name, send := range map[string]func(o *overLimit){
		"header only": func(o *overLimit) { o.SendRaw(whole[:2]) },
		"a drip":      func(o *overLimit) { drip(o, whole, 1, time.Second) },
		"large and slower than 64 KiB in 30 s": func(o *overLimit) {
			drip(o, data(drpcwire.KindMessage, 1, 5, 1<<20, true), 32<<10, 15001*time.Millisecond)
		},
	} {
		bubble(t, name, func(t *testing.T) {
			o := newOverLimit(t, opts)
			start := time.Now()
			send(o)
			<-o.man.Closed()
			if took := time.Since(start); took < 30*time.Second || took > 46*time.Second {
				t.Errorf("the connection ended after %v", took)
			}
			o.ExpectClosed()
			endedFor(t, o.man, "a frame has come in part for 30s")
		})
	}
	bubble(t, "large and slow, but steady", func(t *testing.T) {
		o := newOverLimit(t, opts)
		start := time.Now()
		drip(o, data(drpcwire.KindMessage, 1, 5, 1<<20, true), 64<<10, 29*time.Second)
		if time.Since(start) < 7*time.Minute {
			t.Errorf("it took %v only", time.Since(start))
		}
		o.lives()
	})
	// The time that one frame took is not held against the next.
	bubble(t, "one after the other", func(t *testing.T) {
		o := newOverLimit(t, opts)
		o.SendRaw(whole[:10])
		time.Sleep(29 * time.Second)
		o.SendRaw(whole[10:])
		time.Sleep(time.Hour)
		o.lives()
		next := data(drpcwire.KindMessage, 1, 2000, 600, true)
		o.SendRaw(next[:10])
		time.Sleep(30*time.Second - 1)
		synctest.Wait()
		if o.man.Err() != nil {
			t.Fatalf("the second frame was cut before its time: %v", o.man.Err())
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		endedFor(t, o.man, "a frame has come in part for 30s")
	})
}

// drip sends a frame by n bytes at a time, until it is out or the connection ends.
func drip(o *overLimit, buf []byte, n int, pause time.Duration) {
	for len(buf) > 0 && o.man.Err() == nil {
		n := min(n, len(buf))
		o.SendRaw(buf[:n])
		buf = buf[n:]
		time.Sleep(pause)
		synctest.Wait()
	}
}

func TestATransportThatTakesNothingEndsTheConnection(t *testing.T) {
	for _, timeout := range []time.Duration{0, 3 * time.Second, -1} {
		bubble(t, timeout.String(), func(t *testing.T) {
			a, b := drpctest.Pipe()
			a.Limit(0) // the peer reads nothing
			acc := new(accepted)
			man := drpcmanager.NewServer(t.Context(), a, drpcmanager.Options{Limits: drpcmanager.Limits{WriteTimeout: timeout}},
				drpcmanager.Hooks{Handle: acc.handle})
			defer man.CloseNow(drpcmanager.ErrClosed)
			_, _ = b.Write(openWith(1, nil, "/a"))
			synctest.Wait()
			start := time.Now()
			if err := drpctest.Send(acc.get(t, 0), "nobody reads this"); err != nil {
				t.Fatal(err)
			}
			if timeout < 0 {
				time.Sleep(time.Hour)
				a.Limit(-1)
				synctest.Wait()
				if err := drpctest.Send(acc.get(t, 0), "but this"); err != nil || man.Err() != nil {
					t.Errorf("the connection ended by %v", man.Err())
				}
				return
			}
			<-man.Closed()
			want := timeout
			if want == 0 {
				want = 10 * time.Second
			}
			if took := time.Since(start); took != want || !errors.Is(man.Err(), drpcwire.ErrWriteTimeout) {
				t.Errorf("after %v the connection ended by %v", took, man.Err())
			}
			lostTo(t, drpctest.Send(acc.get(t, 0), "x"), drpcwire.ErrWriteTimeout)
		})
	}
}

func TestMoreThanThereIsCreditForEndsTheConnection(t *testing.T) {
	bubble(t, "a window", func(t *testing.T) {
		o := newOverLimit(t, drpcmanager.Options{})
		o.Send(`s3 m1 Invoke "/a"`)
		o.SendRaw(data(drpcwire.KindMessage, 3, 2, 64<<10-64, true))
		o.lives()
		o.Send(`s3 m3 Message`)
		o.ended("more sent than there is credit for")
	})
	bubble(t, "on a client", func(t *testing.T) {
		man, peer, s := newCreditClient(t, drpcmanager.Options{})
		peer.SendRaw(data(drpcwire.KindMessage, 1, 5, 64<<10-63, true))
		if _, err := drpctest.Recv(s); !errors.As(err, new(*drpcmanager.LostError)) {
			t.Errorf("the stream got %v", err)
		}
		endedFor(t, man, "more sent than there is credit for")
	})
}

func TestCreditOutOfRangeEndsItsStreamAlone(t *testing.T) {
	for name, grant := range map[string]string{
		"zero":                     `"\x00"`,
		"above 2^31-1":             `"\x80\x80\x80\x80\b"`,
		"above, with what is left": `"\xff\xff\xff\xff\a"`,
		"2^64-1":                   `"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"`,
	} {
		bubble(t, name, func(t *testing.T) {
			o := newOverLimit(t, drpcmanager.Options{})
			o.Send(`s3 m1 Invoke "/a"`, `s3 m0 WindowUpdate `+grant+` ctl`)
			got, _ := o.Next()
			if !strings.HasPrefix(got, "s3 m1 Error") || !strings.Contains(got, "out of range") {
				t.Errorf("the peer is told %s", got)
			}
			if err := drpctest.Send(o.acc.get(t, 1), "x"); !drpc.ProtocolError.Has(err) {
				t.Errorf("a send gives %v", err)
			}
			o.lives()
		})
	}
}

// What an Error holds is bounded, and it ends its stream all the same.
func TestOfAnErrorsText64KiBAreKept(t *testing.T) {
	code := "\x00\x00\x00\x00\x00\x00\x00\x2a"
	for name, sizes := range map[string][]int{
		"at the limit":     {64 << 10},
		"one frame":        {300_000},
		"many frames":      {40_000, 40_000, 40_000, 40_000},
		"a byte too many":  {64<<10 + 1},
		"in ever more":     {64 << 10, 1, 1, 1},
		"none of the last": {1, 64 << 10, 0},
	} {
		bubble(t, name, func(t *testing.T) {
			o := newOverLimit(t, drpcmanager.Options{})
			o.Send(`s3 m1 Invoke "/a"`)
			for i, n := range sizes {
				fr := drpcwire.Frame{ID: drpcwire.ID{Stream: 3, Message: 2}, Kind: drpcwire.KindError, Done: i == len(sizes)-1}
				fr.Data = bytes.Repeat([]byte("e"), n)
				if i == 0 {
					fr.Data = append([]byte(code), fr.Data...)
				}
				o.SendRaw(drpcwire.AppendFrame(nil, fr))
			}
			synctest.Wait()
			_, err := drpctest.Recv(o.acc.get(t, 1))
			if err == nil || len(err.Error()) != 64<<10 || drpcerr.Code(err) != 42 {
				t.Errorf("got code %d and %d bytes", drpcerr.Code(err), len(fmt.Sprint(err)))
			}
			o.lives()
			o.ExpectNothing()
		})
	}
}

func TestAPacketThatOnlyEndsAStreamHoldsLittle(t *testing.T) {
	for _, kind := range []drpcwire.Kind{drpcwire.KindCancel, drpcwire.KindClose, drpcwire.KindCloseSend} {
		for _, size := range []int{1 << 10, 1<<10 + 1} {
			bubble(t, fmt.Sprint(kind, " of ", size), func(t *testing.T) {
				o := newOverLimit(t, drpcmanager.Options{})
				o.Send(`s3 m1 Invoke "/a"`)
				o.SendRaw(data(kind, 3, 2, size-500, false))
				o.SendRaw(data(kind, 3, 2, 500, true))
				if size > 1<<10 {
					o.told(3, drpcwire.CodeResourceExhausted, fmt.Sprintf("drpc: received %v exceeds the limit of 1024 bytes", kind))
				}
				o.lives()
				o.ExpectNothing()
			})
		}
	}
}

// Nothing is kept of what can come to nothing: a message behind a CloseSend, an
// Invoke on a stream that is live.
func TestWhatComesToNothingMayBeAsLargeAsItLikes(t *testing.T) {
	bubble(t, "message behind CloseSend", func(t *testing.T) {
		o := newOverLimit(t, drpcmanager.Options{Reader: drpcwire.ReaderOptions{MaximumBufferSize: 1000}})
		o.Send(`s3 m1 Invoke "/a"`, `s3 m2 CloseSend`)
		o.SendRaw(data(drpcwire.KindMessage, 3, 3, 20_000, true))
		o.lives()
		o.ExpectNothing()
	})
	bubble(t, "invoke on a live stream", func(t *testing.T) {
		o := newOverLimit(t, drpcmanager.Options{})
		for range 100 {
			o.SendRaw(data(drpcwire.KindInvoke, 1, 3, 64<<10, false))
		}
		o.ExpectNothing()
		o.SendRaw(data(drpcwire.KindInvoke, 1, 3, 1, true))
		o.ended("Invoke on a live stream")
	})
}
