package link

import (
	"testing"
	"testing/synctest"
)

func TestAQueueHoldsNoMoreThanItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(10)
		q.push(piece{data: make([]byte, 8)})
		pushed := false
		go func() { pushed = q.push(piece{data: make([]byte, 3)}) }()
		synctest.Wait()
		if pushed || q.bytes != 8 {
			t.Fatalf("a piece too many was taken: %d bytes", q.bytes)
		}
		q.pop()
		synctest.Wait()
		if !pushed || q.bytes != 3 {
			t.Fatalf("there was room, and a piece was not taken: %d bytes", q.bytes)
		}
	})
}

func TestAPieceLargerThanTheLimitPassesAlone(t *testing.T) {
	q := newQueue(10)
	if !q.push(piece{data: make([]byte, 11)}) {
		t.Fatal("not taken")
	}
	if p, ok := q.pop(); !ok || len(p.data) != 11 {
		t.Fatalf("got %d bytes, %v", len(p.data), ok)
	}
}

func TestAQueueThatHasEndedIsEmptiedFirst(t *testing.T) {
	q := newQueue(10)
	q.push(piece{data: []byte{1}})
	q.end()
	if p, ok := q.pop(); !ok || p.data[0] != 1 {
		t.Fatalf("got %v, %v", p.data, ok)
	}
	if p, ok := q.pop(); ok {
		t.Fatalf("got %v after the last one", p.data)
	}
}

func TestDropReleasesWhoPushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(10)
		q.push(piece{data: make([]byte, 10)})
		result := make(chan bool, 1)
		go func() { result <- q.push(piece{data: make([]byte, 1)}) }()
		synctest.Wait()
		q.drop()
		if <-result {
			t.Error("a piece was taken that nobody will pop")
		}
	})
}
