// Command gcsserve is the embedded Cloud Storage server as a process of its own, for the bench: what it takes is not the bench's. It
// prints the address that it listens on, and serves until it is killed.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"

	"github.com/dagbucket/dagbucket/internal/gcsserver"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	flag.Parse()
	if err := serve(*listen); err != nil {
		fmt.Fprintln(os.Stderr, "gcsserve:", err)
		os.Exit(1)
	}
}

// memory is where garbage is collected in earnest, in bytes: a large upload is copied several times, and its sources lie beside it.
const memory = 4 << 30

func serve(address string) error {
	debug.SetMemoryLimit(memory)
	server, err := gcsserver.New()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	return http.Serve(listener, server)
}
