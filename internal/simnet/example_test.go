package simnet_test

import (
	"fmt"
	"io"
	"syscall"

	"braid/internal/simnet"
)

// A connection is reset in the middle of an answer.
func ExampleLink() {
	client, server := simnet.Link(simnet.Path{}, simnet.Path{})
	defer client.Close()
	defer server.Close()

	server.CutAfter(6, syscall.ECONNRESET)
	n, err := server.Write([]byte("hello, client"))
	fmt.Println("server:", n, err)

	got, err := io.ReadAll(client)
	fmt.Printf("client: %q %v\n", got, err)
	// Output:
	// server: 6 connection reset by peer
	// client: "hello," connection reset by peer
}
