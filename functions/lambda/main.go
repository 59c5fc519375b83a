// Command lambda is the AWS Lambda function: S3 events in, DAG-only deploys on Astro out.
package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/dagbucket/dagbucket/internal/awswire"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/lambdahandler"
	"github.com/dagbucket/dagbucket/internal/pysyntax"
	"github.com/dagbucket/dagbucket/internal/service"
)

// version is set when the binary is built.
var version = "dev"

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	name := os.Getenv("AWS_LAMBDA_FUNCTION_NAME")
	syntax := pysyntax.New(pysyntax.Options{Cache: machineCode(), Log: log}) // loaded by the first run that needs it
	handler := lambdahandler.New(func(ctx context.Context) (*service.Service, error) {
		clients := awswire.New(os.Getenv)
		buckets := clients.Buckets()
		cfg, err := config.Load(ctx, os.Getenv, buckets.ReadURL)
		if err != nil {
			return nil, err
		}
		return service.New(ctx, cfg, service.Deps{
			Buckets: buckets, Secrets: clients.Secrets(), Topics: clients.Topics(), Version: version, Log: log, Syntax: syntax, Follow: true,
			SummaryAttrs: lambdahandler.Metrics(name),
		})
	}, name, log)
	lambda.Start(handler.Handle)
}

// machineCode is the folder of the syntax checker's machine code: in the package, it lies beside the program.
func machineCode() string {
	folder := os.Getenv("LAMBDA_TASK_ROOT")
	if folder == "" {
		program, err := os.Executable()
		if err != nil {
			return ""
		}
		folder = filepath.Dir(program)
	}
	return filepath.Join(folder, "pysyntax")
}
