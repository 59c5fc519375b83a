// Command lambda is the AWS Lambda function: S3 events in, DAG-only deploys on Astro out.
package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/dagbucket/dagbucket/internal/awswire"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/lambdahandler"
	"github.com/dagbucket/dagbucket/internal/service"
)

// version is set when the binary is built.
var version = "dev"

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	name := os.Getenv("AWS_LAMBDA_FUNCTION_NAME")
	handler := lambdahandler.New(func(ctx context.Context) (*service.Service, error) {
		clients := awswire.New(os.Getenv)
		buckets := clients.Buckets()
		cfg, err := config.Load(ctx, os.Getenv, buckets.ReadURL)
		if err != nil {
			return nil, err
		}
		return service.New(ctx, cfg, service.Deps{
			Buckets: buckets, Secrets: clients.Secrets(), Version: version, Log: log,
			SummaryAttrs: lambdahandler.Metrics(name),
		})
	}, name, log)
	lambda.Start(handler.Handle)
}
