package copier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"braid/cmd/braid/internal/wire"
)

// talker is one member of the room, on a stream of its own.
type talker struct {
	run    *run
	name   string
	stream *wire.ChatClient
	heard  chan struct{} // one element for each own line that came back
}

// talkAll lets a room chat until the copying is over. Everybody says a line,
// waits until it has come back, and says the next; and everybody has to hear
// every line of everybody, in order.
func (r *run) talkAll(ctx context.Context) {
	if r.opts.Talkers == 0 {
		return
	}
	err := r.talk(ctx)
	if err == nil || ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.ChatErr = err
}

func (r *run) talk(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	room := fmt.Sprintf("room-%x", newUploadID())
	// All have to be in the room before anybody talks.
	talkers := make([]*talker, r.opts.Talkers)
	for i := range talkers {
		t, err := r.join(ctx, room, fmt.Sprintf("talker-%d", i))
		if err != nil {
			return err
		}
		talkers[i] = t
	}
	var group errgroup.Group
	// The first who fails ends it for all: the others would wait for lines
	// that never come.
	start := func(f func() error) {
		group.Go(func() error {
			err := f()
			if err != nil {
				cancel()
			}
			return err
		})
	}
	for _, t := range talkers {
		start(func() error { return t.listen(ctx, len(talkers)) })
		start(func() error { return t.speak(ctx) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, t := range talkers {
		if err := t.leave(); err != nil {
			return err
		}
	}
	return nil
}

// join enters the room.
func (r *run) join(ctx context.Context, room, name string) (*talker, error) {
	stream, err := r.chat.client.Chat(ctx)
	if err != nil {
		return nil, err
	}
	err = stream.Send(&wire.ChatFrame{Event: wire.Join, Room: room, Name: name})
	if err != nil && !errors.Is(err, io.EOF) { // after io.EOF, receiving tells why
		return nil, fmt.Errorf("%s cannot join: %w", name, err)
	}
	var frame wire.ChatFrame
	switch err := stream.Recv(&frame); {
	case err != nil:
		return nil, fmt.Errorf("%s cannot join: %w", name, err)
	case frame.Event != wire.Welcome:
		return nil, fmt.Errorf("%s was not welcomed", name)
	}
	return &talker{run: r, name: name, stream: stream, heard: make(chan struct{}, 1)}, nil
}

// speak says lines until the copying is over. The last one is marked.
func (t *talker) speak(ctx context.Context) error {
	least := uint64(max(t.run.opts.LeastLines, 1))
	for n := uint64(1); ; n++ {
		last := n >= least && t.run.over()
		phase := t.run.phase.Load()
		begin := time.Now()
		line := wire.ChatFrame{
			Event: wire.Line, Number: n, Last: last,
			Text: fmt.Sprintf("line %d of %s", n, t.name),
		}
		switch err := t.stream.Send(&line); {
		case errors.Is(err, io.EOF):
			return nil // the server has ended the stream; listen hears why
		case err != nil:
			return fmt.Errorf("%s cannot speak: %w", t.name, err)
		}
		select {
		case <-t.heard:
			took := time.Since(begin)
			t.run.chat.latency.Add(took)
			if phase != nil && phase == t.run.phase.Load() {
				phase.chat.Add(took)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		if last {
			return nil
		}
	}
}

// listen hears what is said until every member has said its last line. The
// lines of each member have to come without a gap, so that nothing is missing
// in the end.
func (t *talker) listen(ctx context.Context, members int) error {
	next := make(map[string]uint64, members) // number of the line heard last
	for left := members; left > 0; {
		var line wire.ChatFrame
		if err := t.stream.Recv(&line); err != nil {
			return fmt.Errorf("%s cannot listen: %w", t.name, err)
		}
		if line.Event != wire.Heard {
			return fmt.Errorf("%s received something that is not a line", t.name)
		}
		next[line.Name]++
		if line.Number != next[line.Name] {
			return fmt.Errorf("%s heard line %d of %s, expected %d",
				t.name, line.Number, line.Name, next[line.Name])
		}
		t.run.opts.Count.Lines.Add(1)
		if line.Name == t.name {
			select {
			case t.heard <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if line.Last {
			left--
		}
	}
	if len(next) != members {
		return errors.New("somebody was in the room who does not belong there")
	}
	return nil
}

// leave ends the stream in the regular way.
func (t *talker) leave() error {
	if err := t.stream.CloseSend(); err != nil {
		return fmt.Errorf("%s cannot leave: %w", t.name, err)
	}
	return t.stream.Close()
}
