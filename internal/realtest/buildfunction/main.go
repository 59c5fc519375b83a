// Command buildfunction builds a staged Cloud Run function as Google's buildpack does.
package main

import (
	"fmt"
	"os"

	"github.com/dagbucket/dagbucket/internal/realtest/buildpack"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: buildfunction FUNCTION.zip TARGET OUT")
		os.Exit(2)
	}
	if err := buildpack.Build(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "buildfunction:", err)
		os.Exit(1)
	}
}
