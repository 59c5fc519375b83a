// Package cloudfunction is the Cloud Run function: Cloud Storage's events in, DAG-only deploys on Astro out.
//
// Its two entry points take what Google's event routes deliver: Dagbucket serves HTTP, and so everything but the background events
// of 1st-gen functions, which are DagbucketBackground's.
package cloudfunction

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"

	"cloud.google.com/go/functions/metadata"
	// The buildpack generates a main package that needs it, and takes it from this module's vendor folder.
	_ "github.com/GoogleCloudPlatform/functions-framework-go/funcframework"

	"github.com/dagbucket/dagbucket/internal/cloudrunhandler"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/gcpwire"
	"github.com/dagbucket/dagbucket/internal/pysyntax"
	"github.com/dagbucket/dagbucket/internal/service"
)

// handler lives as long as the instance; it is wired by the first event.
var handler = newHandler()

// Dagbucket is the entry point of a Cloud Run function: CloudEvents in both of their modes, Pub/Sub pushes, Cloud Scheduler's and a
// person's POST.
func Dagbucket(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }

// DagbucketBackground is the entry point of a 1st-gen background function. An event without metadata is an error.
func DagbucketBackground(ctx context.Context, data json.RawMessage) error {
	meta, err := metadata.FromContext(ctx)
	if err != nil {
		return fmt.Errorf("this entry point takes the events of 1st-gen background functions; use Dagbucket for others: %w", err)
	}
	return handler.Background(ctx, meta.EventType, meta.Timestamp, data)
}

func newHandler() *cloudrunhandler.Handler {
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{ReplaceAttr: cloudrunhandler.LogAttr}))
	syntax := pysyntax.New(pysyntax.Options{Cache: machineCode(), Log: log}) // loaded by the first run that needs it
	return cloudrunhandler.New(func(ctx context.Context) (*service.Service, error) {
		clients := gcpwire.New(os.Getenv)
		buckets := clients.Buckets()
		cfg, err := config.Load(ctx, os.Getenv, buckets.ReadURL)
		if err != nil {
			return nil, err
		}
		return service.New(ctx, cfg, service.Deps{
			Buckets: buckets, Secrets: clients.Secrets(), Topics: clients.Topics(), Version: version, Log: log, Syntax: syntax, Share: true, Follow: true,
		})
	}, log)
}

// machineCode is the folder of the syntax checker's machine code, which is part of the staged source. Google's buildpack moves that into a
// folder in /workspace, where it stays, and has the function run in /workspace. Who builds otherwise may lay the code beside the program.
func machineCode() string {
	const folder = "serverless_function_source_code/pysyntax"
	places := []string{folder, "/workspace/" + folder}
	if program, err := os.Executable(); err == nil {
		places = append(places, filepath.Join(filepath.Dir(program), "pysyntax"))
	}
	for _, place := range places {
		if _, err := os.Stat(place); err == nil {
			return place
		}
	}
	return folder // for what is said of it
}
