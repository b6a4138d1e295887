package drpcmanager

import "time"

// What a peer may make a connection hold before there is a stream to hold it.
// The limits of streams are in drpcstream (the queue of messages), those of
// writing in drpcwire.MuxWriterOptions.
const (
	// maxSetups is how many Invokes may be incomplete at once. A sender writes
	// metadata and Invoke together, so an honest peer has one. More ends the
	// connection: it is a flood of never finished headers (CVE-2023-45288 and
	// its kin).
	maxSetups = 16

	// maxSetupBytes is what they may hold together.
	maxSetupBytes = 256 << 10

	// setupTimeout is how long one may stay incomplete.
	setupTimeout = 10 * time.Second

	// maxMethodName keeps text of the peer's choice out of logs and maps.
	maxMethodName = 1 << 10

	// maxMetadata is the encoded size; the decoded pairs are smaller. 4 MiB of
	// tiny pairs would be a map of 388,000 entries.
	maxMetadata = 16 << 10
)

// closeFlush is how long Close waits for what was queued before it to reach the
// transport. A peer that reads needs microseconds; one that does not read is
// not waited for.
const closeFlush = 250 * time.Millisecond
