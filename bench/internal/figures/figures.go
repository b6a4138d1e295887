// Package figures says what was measured on, and condenses what was measured.
package figures

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
)

// Median returns the middle value, or the mean of the two in the middle. There
// has to be a value.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	return (sorted[mid-1] + sorted[mid]) / 2
}

// CPUModel returns the name of the CPU where the system tells it in a file.
func CPUModel() string {
	const unknown = "unknown"
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return unknown
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), ":")
		if ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return unknown
}

// ModuleVersion returns the version of a module that is linked in.
func ModuleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown version)"
	}
	for _, mod := range info.Deps {
		if mod.Path != path {
			continue
		}
		if mod.Replace != nil {
			return fmt.Sprintf("%s, replaced by %s %s", mod.Version, mod.Replace.Path, mod.Replace.Version)
		}
		return mod.Version
	}
	return "(unknown version)"
}

// SizeName writes a size in the largest unit that divides it.
func SizeName(size int) string {
	switch {
	case size > 0 && size%(1<<20) == 0:
		return fmt.Sprintf("%dMiB", size>>20)
	case size > 0 && size%(1<<10) == 0:
		return fmt.Sprintf("%dKiB", size>>10)
	default:
		return fmt.Sprintf("%dB", size)
	}
}
