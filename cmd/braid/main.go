// Braid copies directories over one connection that carries many streams, to
// show what package braid does and to try it between machines. And it makes load on
// DRPC servers, to measure them.
//
//	braid demo                          # a server, a client and this directory
//	braid serve --listen :7000          # keep what clients send
//	braid copy DIR host:7000            # send it
//	braid bench host:7000               # how many calls a second, and how long?
package main

import (
	"os"

	"braid/cmd/braid/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr)) }
