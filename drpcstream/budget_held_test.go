package drpcstream

import (
	"testing"
	"time"
)

// heldOwner is a flowOwner that counts who holds it.
type heldOwner struct {
	flow    *inflow
	holders int
	during  []int // holders, each time that it was given budget
}

func (o *heldOwner) Retain()                             { o.holders++ }
func (o *heldOwner) Release()                            { o.holders-- }
func (o *heldOwner) grant(int64)                         {}
func (o *heldOwner) patience() time.Duration             { return 0 }
func (o *heldOwner) now() (now, roundTrip time.Duration) { return 0, 0 }

func (o *heldOwner) extendWindow() bool {
	o.during = append(o.during, o.holders)
	o.flow.budget.served(o.flow)
	return true
}

// Whoever gives budget to a stream in line holds it from when it has looked it up there:
// the stream may end meanwhile, and must not become another call's.
func TestAStreamThatIsGivenBudgetIsHeldMeanwhile(t *testing.T) {
	b := NewBudget(100, 1000)
	var owners [3]heldOwner
	for i := range owners {
		owners[i].flow = &inflow{budget: b, owner: &owners[i]}
	}
	if !b.takeForMessage(owners[0].flow, 100) || !b.takeForMessage(owners[1].flow, 50) {
		t.Fatal("the first two were given nothing") // the second is over the total, as the head
	}
	if b.takeForMessage(owners[2].flow, 50) {
		t.Fatal("the third was given what is not there")
	}
	b.give(100)
	b.passOn()
	if o := &owners[2]; len(o.during) != 1 || o.during[0] != 1 || o.holders != 0 {
		t.Errorf("it was held %d times while it was given budget, %d times after", o.during, o.holders)
	}
	for i := range owners[:2] {
		if o := &owners[i]; len(o.during) > 0 || o.holders != 0 {
			t.Errorf("stream %d, which was not in line: %+v", i, o)
		}
	}
}
