package hostile_test

import (
	"flag"
	"runtime"
	"testing"
	"time"

	"braid/drpcserver"

	"braid/internal/drpctest"
)

// periodFlag is how long an attack goes on, twice. One that needs time to unfold is
// given eight times that, and goes on for as long again, which is what is measured.
var periodFlag = flag.Duration("hostile.period", 120*time.Millisecond, "how long to attack, twice")

// nice asks for an attacker that takes from the processor only what nobody else wants,
// as one on another machine takes nothing of it: what is left is what its frames cost
// the server.
var nice = flag.Bool("hostile.nice", false, "run the attacker with the lowest priority (Unix)")

// rate makes honest clients what most of them are: busy with other things between calls.
// Without it they want all of the processor that they get, so that whatever anyone else
// takes of it is missed.
var rate = flag.Int("hostile.rate", 2000, "calls a second that honest clients want to make, all together; 0: as many as they can")

// play is an attack and what must come of it.
type play struct {
	name   string                    // hazard and what is done
	server func(*drpcserver.Options) // nil: as by default

	// attack attacks until a.ctx ends. It runs in a process of its own.
	attack func(a *attacker)

	ends string // what the server says of the connections that it ends; "": it ends none
	may  string // as ends, where that happens only if the attacker is fast
	says string // what the text of an Error has that it answers with; "": any, or none
	held int64  // MiB that the attack may make the process hold, garbage included
	each int64  // KiB that a connection may hold, without garbage, if there are many; 0: not looked at
	long bool   // the attack needs a second to unfold: one round of that
	half bool   // the server ends half of its connections, at least
	rest int    // connections that a long attack is to have, with no handler running, before it is looked at what they hold

	handlers int                            // the most victims that may run at once on a connection; 0: not looked at
	check    func(t *testing.T, rep report) // what else must hold; may be nil
}

// figures are what was measured while an attack was played.
type figures struct {
	rep        report
	without    float64 // honest calls a second before the attack, or due, summed up over the rounds
	unfolding  float64 // while a long attack unfolds
	with       float64 // during the attack
	unserved   bool    // under attack no honest call returned at all
	rounds     float64
	resting    int64 // bytes that a long attack makes the process hold, without garbage
	most       int64 // bytes that were held at most, with garbage
	goroutines int64 // the most there were
}

// run plays it.
func (p play) run(t *testing.T) {
	tg := newTarget(t, p.server)
	h := newHonest(t, tg)
	if !drpctest.Eventually(func() bool { return h.calls.Load() > 100 }) {
		t.Fatal("honest clients are not served without an attack")
	}
	enemy := startAttacker(t, order{Addr: tg.addr, Play: p.name, Short: short})
	base, goroutines := settled(), runtime.NumGoroutine()
	f := p.measure(t, tg, h, enemy, base)

	p.checkEnd(t, tg, f.rep)
	p.checkRemains(t, tg, base, goroutines, f)
	p.checkHandlers(t, tg.victim)
	all, _, _ := tg.logged("", "")
	if p.long {
		each := f.resting >> 10 / int64(max(f.rep.Conns, 1))
		t.Logf("honest calls while it unfolds: %.0f %%; then %d MiB are held, %d KiB for each connection", 100*f.unfolding/f.without, f.resting>>20, each)
		if p.each > 0 && !short && each > p.each {
			t.Errorf("a connection holds %d KiB, at most %d are expected", each, p.each)
		}
	}
	t.Logf("honest calls %3.0f %% (%.0f/s, %.0f/s without), slowest %v; peak +%d MiB, +%d goroutines; %d frames, %d connections, %d ended, %d log lines; calls beside it %d of %d",
		100*f.with/f.without, f.with/f.rounds, f.without/f.rounds, time.Duration(h.slowest.Load()).Round(time.Millisecond),
		(f.most-base)>>20, f.goroutines-int64(goroutines), f.rep.Frames, f.rep.Conns, f.rep.Ended, all, f.rep.Answered, f.rep.Calls)
	if lines := all - tg.panics(); lines > f.rep.Conns {
		t.Errorf("%d lines were logged of %d connections", lines, f.rep.Conns)
	}
	// That honest clients are served, and no more: server, clients and attacker have two
	// processors together, which the rest of the machine uses, too, and where the
	// attacker makes calls, a thousand handlers of its compete with few honest callers.
	if f.unserved {
		t.Error("no honest call returned under attack")
	}
	if grown := (f.most - base) >> 20; grown > p.held {
		t.Errorf("the process held %d MiB more, at most %d are expected", grown, p.held)
	}
}

// measure attacks, in alternation with nothing. base is what memory is before.
func (p play) measure(t *testing.T, tg *target, h *honest, enemy *child, base int64) (f figures) {
	watch := newPeak()
	rounds, period := 2, *periodFlag
	switch {
	case p.long: // also with -short: it needs the time
		rounds, period = 1, 8**periodFlag
	case short:
		rounds, period = 1, *periodFlag/2
	}
	f.rounds = float64(rounds)
	for range rounds {
		if before := h.during(period / 2); *rate > 0 {
			f.without += float64(*rate) // before may have what was late
		} else {
			f.without += before
		}
		enemy.on()
		if p.long {
			f.unfolding = h.during(period)
		}
		f.with += h.during(period)
		f.unserved = f.unserved || !h.served()
		if p.long {
			f.resting = p.resting(t, tg) - base
		}
		f.rep = enemy.off()
		// What it has left in the buffers of the network is still attacking.
		drpctest.Eventually(func() bool { return tg.open.Load() == honestConns })
	}
	// What must come of it has to come in the end, however little the time was.
	for more := period; !p.hasCome(tg, f.rep) && more < 4*patience; more *= 2 {
		enemy.on()
		<-time.After(more)
		f.rep = enemy.off()
	}
	f.most, f.goroutines = watch.stop()
	return f
}

// resting returns how much memory is held once the attack has unfolded.
func (p play) resting(t *testing.T, tg *target) int64 {
	all := int64(honestConns + p.rest)
	if p.rest > 0 && !drpctest.Eventually(func() bool { return tg.open.Load() >= all && !tg.victim.busy() }) {
		t.Errorf("%d connections, want %d; handlers run: %v", tg.open.Load(), all, tg.victim.busy())
	}
	return settled()
}

// checkRemains looks for what is left when the attacker is gone: nothing.
func (p play) checkRemains(t *testing.T, tg *target, base int64, goroutines int, f figures) {
	t.Helper()
	if !drpctest.Eventually(func() bool { return tg.open.Load() == honestConns }) {
		t.Errorf("%d connections are left, want %d", tg.open.Load(), honestConns)
	}
	const idle = honestConns * 64 // that a connection keeps for calls to come
	if !drpctest.Eventually(func() bool { return runtime.NumGoroutine() <= goroutines+idle }) {
		t.Errorf("%d goroutines are left, %d were there before:\n%s", runtime.NumGoroutine(), goroutines, drpctest.Stacks())
	}
	var after int64
	slack := 8<<20 + f.goroutines<<10 // the runtime keeps something of each goroutine
	if !drpctest.Eventually(func() bool { after = settled(); return after-base < slack }) {
		t.Errorf("%d MiB are left", (after-base)>>20)
	}
}

// checkHandlers looks at how many handlers ran, and that none does any more.
func (p play) checkHandlers(t *testing.T, v *victim) {
	t.Helper()
	most, running := 0, 0
	ended := drpctest.Eventually(func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		most, running = v.most, len(v.running)
		return running == 0
	})
	if !ended {
		t.Errorf("handlers of %d connections still run", running)
	}
	if p.handlers > 0 && most > p.handlers {
		t.Errorf("%d handlers of a connection ran at once, at most %d may", most, p.handlers)
	}
}

// hasCome reports whether the attack has had the effects that it must have.
func (p play) hasCome(tg *target, rep report) bool {
	_, with, _ := tg.logged(p.ends, p.may)
	return rep.Conns > 0 && rep.Frames > 0 && (p.ends == "" || with > 0) &&
		(p.says == "" || answered(rep, p.says)) && (!p.half || rep.Ended >= rep.Conns/2)
}

// checkEnd looks at what became of the attacker's connections.
func (p play) checkEnd(t *testing.T, tg *target, rep report) {
	t.Helper()
	if rep.Conns == 0 || rep.Frames == 0 {
		t.Errorf("there was no attack: %+v", rep)
	}
	_, with, other := tg.logged(p.ends, p.may)
	switch {
	case other != "":
		t.Errorf("a connection ended in an unexpected way: %s", other)
	case p.ends != "" && with == 0:
		t.Errorf("no connection was ended by %q: %+v, %v", p.ends, rep, tg.lines)
	case p.ends == "" && p.may == "" && rep.Ended > 0:
		t.Errorf("%d connections were ended: %+v, %v", rep.Ended, rep, tg.lines)
	case rep.Late > 0:
		t.Errorf("%d honest calls on the attacker's connections were not answered: %+v", rep.Late, rep)
	}
	if p.says != "" && !answered(rep, p.says) {
		t.Errorf("no answer has %q: %v", p.says, rep.Errors)
	}
	if p.half && rep.Ended < rep.Conns/2 {
		t.Errorf("of %d connections only %d were ended", rep.Conns, rep.Ended)
	}
	if p.check != nil {
		p.check(t, rep)
	}
}
