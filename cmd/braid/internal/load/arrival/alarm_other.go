//go:build !linux

package arrival

// NewAlarm returns the most exact Alarm that there is.
func NewAlarm() Alarm { return NewTimer() }
