package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"braid/bench/internal/beside"
	"braid/bench/internal/rig"
	"braid/bench/internal/stack"
)

// cell is one line of what is measured, for both stacks.
type cell struct {
	mode    beside.Mode
	streams int
	sides   []side // as config.stacks
}

// side is one stack's part of a cell.
type side struct {
	stack  string
	rounds []round
}

// round is what was measured once.
type round struct {
	// Figures has what is known, by the key of the column.
	Figures map[string]float64 `json:"figures"`
	// Stalled says what had not ended in time. Such a round has no figures but
	// calls_per_second.
	Stalled string `json:"stalled,omitempty"`
	// Failed is the error that a call or a stream has ended with.
	Failed string `json:"failed,omitempty"`
	// Hung says that the stack did not even end when it was closed.
	Hung bool `json:"hung,omitempty"`
}

// good reports whether the figures of the round can be used.
func (r round) good() bool { return r.Stalled == "" && r.Failed == "" }

// results is all that was measured.
type results []*cell

// failed reports whether anything has failed.
func (res results) failed() bool {
	for _, c := range res {
		for _, s := range c.sides {
			for _, r := range s.rounds {
				if r.Failed != "" {
					return true
				}
			}
		}
	}
	return false
}

// newResults returns the cells to measure.
func newResults(cfg config) results {
	var res results
	for _, mode := range cfg.modes {
		counts := cfg.streams
		if mode == beside.Stalled {
			counts = cfg.stalled
			if counts[0] != 0 {
				counts = append([]int{0}, counts...) // what the others are related to
			}
		}
		for _, n := range counts {
			c := &cell{mode: mode, streams: n}
			for _, st := range cfg.stacks {
				c.sides = append(c.sides, side{stack: st.Name})
			}
			res = append(res, c)
		}
	}
	return res
}

// measureAll measures every cell once in every round, one stack directly after
// the other. Rounds take turns in which one is first.
func measureAll(cfg config, progress io.Writer) results {
	res := newResults(cfg)
	for i := range cfg.rounds {
		for _, c := range res {
			fmt.Fprintf(progress, "round %d of %d: %s, %d streams\n", i+1, cfg.rounds, c.mode, c.streams)
			for j := range cfg.stacks {
				k := (i + j) % len(cfg.stacks)
				c.sides[k].rounds = append(c.sides[k].rounds, measure(cfg, cfg.stacks[k], c.mode, c.streams))
			}
		}
	}
	res.relate()
	return res
}

// relate adds to each round of the mode stalled what is left of the calls of
// the same round without stalled streams.
func (res results) relate() {
	var alone *cell
	for _, c := range res {
		if c.mode != beside.Stalled {
			continue
		}
		if c.streams == 0 {
			alone = c
		}
		for i, s := range c.sides {
			for j, r := range s.rounds {
				if base := alone.sides[i].rounds[j].Figures[keyCalls]; r.good() && base > 0 {
					r.Figures[keyKept] = r.Figures[keyCalls] / base
				}
			}
		}
	}
}

// measure measures one stack once, on a server and a connection of its own. It
// returns within a bounded time, whatever the stack does.
func measure(cfg config, st stack.Stack, mode beside.Mode, streams int) round {
	ctx, cancel := context.WithTimeout(context.Background(), cfg.grace)
	defer cancel()
	setup := stack.Setup{Callers: cfg.callers + streams, Size: max(cfg.size, cfg.callSize)}
	server, err := within(ctx, func() (*rig.Rig, error) {
		return rig.Start(ctx, st, rig.Config{Link: cfg.link, Setup: setup})
	})
	if err != nil {
		if ctx.Err() != nil {
			return round{Stalled: "the start: " + err.Error()}
		}
		return round{Failed: err.Error()}
	}
	runtime.GC() // what the side before has left behind
	r, end := observe(cfg, server, mode, streams)
	if n := counted(server).Conns; n != 1 && r.good() {
		r.Failed = fmt.Sprintf("%d connections were used instead of one", n)
	}
	if err := shutDown(cfg, server, end); errors.Is(err, context.DeadlineExceeded) {
		r.Hung = true
	} else if err != nil && r.good() {
		r.Failed = "close: " + err.Error()
	}
	return r
}

// within returns what do returns, or the error of the context if that ends
// first. Then do goes on, and what it returns is lost.
func within[T any](ctx context.Context, do func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := do()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// counted returns what the server has counted, which is in this process and can
// always tell.
func counted(server *rig.Rig) rig.Counts {
	counts, _ := server.Counts()
	return counts
}

// observe runs the load and the callers. What it returns along with the figures
// ends whatever still runs, and may block.
func observe(cfg config, server *rig.Rig, mode beside.Mode, streams int) (round, func()) {
	received := func() int64 { return counted(server).Received }
	load := beside.StartLoad(server.Client(), received, mode, streams, cfg.size)
	if mode == beside.Stalled {
		settle(load, cfg.grace)
	}
	window := beside.Window{Begin: time.Now().Add(cfg.warm)}
	window.End = window.Begin.Add(cfg.time)
	callers := beside.StartCallers(server.Client(), cfg.callers, cfg.callSize, window)
	end := func() {
		callers.Cancel()
		callers.Wait()
		load.Stop()
	}

	time.Sleep(time.Until(window.Begin))
	began, movedBefore := time.Now(), load.Moved()
	time.Sleep(time.Until(window.End))
	took, movedAfter := time.Since(began), load.Moved()

	late, cancel := context.WithDeadline(context.Background(), window.End.Add(cfg.grace))
	defer cancel()
	_, waitErr := within(late, func() (struct{}, error) { callers.Wait(); return struct{}{}, nil })
	hist, err := callers.Result()
	err = errors.Join(err, load.Err())
	r := round{Figures: map[string]float64{keyCalls: float64(callers.Completed()) / cfg.time.Seconds()}}
	switch {
	case err != nil:
		r.Failed = err.Error()
		return r, end
	case waitErr != nil:
		r.Stalled = fmt.Sprintf("%d of %d callers had no answer after %v", callers.Calling(), cfg.callers, cfg.grace)
		return r, end
	}
	if streams > 0 {
		r.Figures[keyBulk] = float64(movedAfter-movedBefore) / took.Seconds()
		if mode == beside.Stalled {
			r.Figures[keyTaken] = float64(movedAfter)
		}
	}
	if hist.TotalCount() > 0 {
		for key, quantile := range quantiles {
			r.Figures[key] = float64(hist.ValueAtQuantile(quantile)) / 1e9
		}
		r.Figures[keyMax] = float64(hist.Max()) / 1e9
	}
	return r, end
}

// settle waits until the senders are blocked, which is when nothing has moved
// for a while, or until they have had their time.
func settle(load *beside.Load, most time.Duration) {
	const look, still = 10 * time.Millisecond, 15
	deadline := time.Now().Add(most)
	for last, same := int64(-1), 0; same < still && time.Now().Before(deadline); time.Sleep(look) {
		moved := load.Moved()
		if moved != last {
			same = 0
		}
		last = moved
		same++
	}
}

// shutDown ends a cell. What does not end in time loses its sockets, and what
// does not end even then is left behind.
func shutDown(cfg config, server *rig.Rig, end func()) error {
	done := make(chan error, 1)
	go func() {
		end()
		done <- server.Close()
	}()
	for range 2 {
		select {
		case err := <-done:
			return err
		case <-time.After(cfg.grace):
			go server.Kill() // it may wait for the link, which may wait for what hangs
		}
	}
	return context.DeadlineExceeded
}
