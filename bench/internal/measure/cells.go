package measure

import "braid/bench/internal/job"

// Cells returns the cells that make up a whole set of results, transport by
// transport. Not every stack can do all of them; see Supports.
func Cells() []Cell {
	const kib, mib = 1 << 10, 1 << 20
	var cells []Cell
	add := func(transport string, kind job.Kind, callers int, sizes ...int) {
		for _, size := range sizes {
			cells = append(cells, Cell{Work: kind.Name, Callers: callers, Size: size, Transport: transport})
		}
	}
	add(TCP, job.Unary, 1, 16, kib, 64*kib)
	add(TCP, job.Unary, 64, 16, kib, 64*kib)
	add(TCP, job.Unary, 1000, 16, kib)
	for _, kind := range []job.Kind{job.Upload, job.Download} {
		add(TCP, kind, 1, 16, kib, 64*kib, mib, 64*mib)
		add(TCP, kind, 16, 16, kib, mib)
	}
	add(TCP, job.PingPong, 1, 16)
	add(TCP, job.PingPong, 64, 16)
	add(TCP, job.OpenClose, 1, 16)
	add(TCP, job.OpenClose, 64, 16)
	add(TCP, job.Mixed, 4, 16)
	add(TCP, job.Idle, 1000, 16)
	for _, transport := range []string{TLS, Processes} {
		add(transport, job.Unary, 1, 16)
		add(transport, job.Unary, 64, 16, kib)
		add(transport, job.Upload, 1, mib)
		add(transport, job.Download, 1, mib)
		add(transport, job.PingPong, 64, 16)
		add(transport, job.OpenClose, 64, 16)
		add(transport, job.Mixed, 4, 16)
	}
	add(Processes, job.Idle, 1000, 16)
	return cells
}
