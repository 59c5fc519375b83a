// Command echo is a Lambda function that does as its payload says.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
)

func main() {
	fmt.Println("to standard output")
	fmt.Fprintln(os.Stderr, "to standard error")
	switch os.Getenv("ECHO_INIT") {
	case "exit":
		os.Exit(3)
	case "hang":
		time.Sleep(time.Hour)
	case "report":
		url := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/init/error"
		response, err := http.Post(url, "application/json", strings.NewReader(`{"errorType":"NoSuchThing"}`))
		if err == nil {
			err = response.Body.Close()
		}
		if err != nil {
			panic(err)
		}
		time.Sleep(time.Hour)
	}
	lambda.Start(handle)
}

func handle(ctx context.Context, payload json.RawMessage) (any, error) {
	var ask struct{ Do, Text string }
	if err := json.Unmarshal(payload, &ask); err != nil {
		return nil, err
	}
	switch ask.Do {
	case "env":
		return os.Environ(), nil
	case "deadline":
		deadline, _ := ctx.Deadline()
		return time.Until(deadline).Milliseconds(), nil
	case "say":
		for _, to := range []*os.File{os.Stdout, os.Stderr} {
			if _, err := fmt.Fprintln(to, ask.Text); err != nil {
				return nil, err
			}
		}
	case "fail":
		return nil, errors.New("as you wish")
	case "panic":
		panic("as you wish")
	case "exit":
		os.Exit(4)
	case "large":
		return strings.Repeat("x", 7<<20), nil
	case "hang":
		fmt.Fprintln(os.Stderr, "hanging")
		time.Sleep(time.Hour)
	}
	return payload, nil
}
