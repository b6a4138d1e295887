package simnet

import (
	"bytes"
	"math/rand"
	"testing"
)

func TestAQueueKeepsOrderAndStaysSmall(t *testing.T) {
	var q queue[int]
	next, random := 0, rand.New(rand.NewSource(1))
	for i := range 100_000 {
		q.push(i)
		for q.len() > random.Intn(20) {
			if *q.front() != next {
				t.Fatalf("front: %d; want %d", *q.front(), next)
			}
			if got := q.pop(); got != next {
				t.Fatalf("pop: %d; want %d", got, next)
			}
			next++
		}
	}
	if cap(q.items) > 256 {
		t.Errorf("it has grown to %d items", cap(q.items))
	}
}

func TestABytesQueueReturnsWhatWasWritten(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	var b bytesQueue
	var want []byte
	for i := range 500 {
		p := pattern(1 + random.Intn(3*blockSize))
		b.write(p)
		want = append(want, p...)
		got := make([]byte, random.Intn(len(want)+1))
		if i%7 == 0 {
			got = got[:len(got)/50]
		}
		b.read(got)
		if !bytes.Equal(got, want[:len(got)]) {
			t.Fatalf("step %d: other bytes", i)
		}
		want = want[len(got):]
		if i%20 == 0 {
			keep := random.Intn(len(want) + 1)
			b.keep(keep)
			want = want[:keep]
		}
	}
	b.keep(0)
	if n := b.blocks.len(); n != 0 {
		t.Errorf("an empty queue keeps %d blocks", n)
	}
}
