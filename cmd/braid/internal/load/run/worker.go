package run

import (
	"context"
	"errors"
)

// worker is a caller or a stream.
type worker struct {
	phase    *phase
	recorder *recorder
	task     task
}

// work is a worker: it does operations until there are no more to be done.
func (p *phase) work(ctx context.Context, index int) {
	// A context of its own, so that calls do not meet at the lock of one.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &worker{
		phase: p, recorder: p.recorders[index%len(p.recorders)],
		task: newTask(ctx, &p.opts, p.conn(index), index),
	}
	if p.schedule != nil {
		w.open()
	} else {
		w.closed()
	}
	if err := w.task.finish(); err != nil {
		w.failed(err)
	} else if p.opts.Work == Upload {
		w.recorder.arrived(p.now())
	}
}

// closed begins an operation when the last one is over.
func (w *worker) closed() {
	p := w.phase
	// A message of a stream takes little more than to read the clock: the end of one
	// is the beginning of the next.
	chained := p.opts.Work == Upload || p.opts.Work == Download
	for begin := p.now(); !p.stopping.Load() && p.ticket(); {
		sent, received, err := w.task.do()
		end := p.now()
		if err != nil {
			w.failed(err)
		} else {
			w.recorder.ok(begin, begin, end, sent, received)
		}
		if begin = end; !chained {
			begin = p.now()
		}
	}
}

// open begins an operation when one is due and the last one is over.
func (w *worker) open() {
	p := w.phase
	for {
		due, ok := p.schedule.Take()
		if !ok {
			return
		}
		begin := p.now()
		p.behind.Store(int64(begin - due))
		sent, received, err := w.task.do()
		if err != nil {
			w.failed(err)
			continue
		}
		w.recorder.ok(due, begin, p.now(), sent, received)
	}
}

// ticket reports whether another operation may begin.
func (p *phase) ticket() bool { return p.count == 0 || p.tickets.Add(1) <= p.count }

// failed takes down a failure, and ends the phase if there is no point in going on.
func (w *worker) failed(err error) {
	p := w.phase
	w.task.drop()
	kind := Status
	var f *failure
	if errors.As(err, &f) {
		kind = f.kind
	}
	w.recorder.err(p.now(), kind, err)
	if kind == Unfinished {
		return
	}
	switch n := p.failed.Add(1); {
	case kind == Connection:
		p.stop(Lost, err)
	case kind == Refused:
		p.stop(Draining, err)
	case kind == Unknown:
		p.stop(NoMethod, err)
	case p.opts.MaxFailed > 0 && n >= p.opts.MaxFailed:
		p.stop(TooManyFailed, err)
	}
}
