// Command compile makes the syntax checker's machine code, for the processor that it runs on: compile FOLDER.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/dagbucket/dagbucket/internal/pysyntax"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: compile FOLDER")
		os.Exit(2)
	}
	if err := pysyntax.Compile(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "compile:", err)
		os.Exit(1)
	}
}
