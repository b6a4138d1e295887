package arrival

import (
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// timerfd is an Alarm of the system's. It is late by some tens of microseconds, where
// a timer of the runtime's is late by up to a millisecond while the process is idle:
// the runtime waits for events of the network in whole milliseconds. As long as a
// caller that waits for its turn has nothing else to wait for, that would be in every
// latency.
type timerfd struct {
	file    *os.File
	stopped atomic.Bool
}

// NewAlarm returns the most exact Alarm that there is.
func NewAlarm() Alarm {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return NewTimer()
	}
	return &timerfd{file: os.NewFile(uintptr(fd), "timerfd")}
}

func (t *timerfd) Wait(d time.Duration) bool {
	if t.stopped.Load() {
		return false
	}
	if d <= 0 {
		return true
	}
	conn, err := t.file.SyscallConn()
	if err != nil {
		return false
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	if cerr := conn.Control(func(fd uintptr) { err = unix.TimerfdSettime(int(fd), 0, &spec, nil) }); cerr != nil || err != nil {
		return false
	}
	var times [8]byte
	_, err = t.file.Read(times[:])
	return err == nil
}

func (t *timerfd) Stop() {
	t.stopped.Store(true)
	_ = t.file.SetReadDeadline(time.Unix(1, 0)) // it has passed; Close fails it otherwise
}

func (t *timerfd) Close() { _ = t.file.Close() }
