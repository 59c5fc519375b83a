// Package demo is the whole of dagbucket in one process: an S3 server, a stand-in for Astro and the function, fed with the
// events that the server's changes give.
package demo

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/event"
	"github.com/dagbucket/dagbucket/internal/s3server"
	"github.com/dagbucket/dagbucket/internal/secret"
	"github.com/dagbucket/dagbucket/internal/service"
)

const (
	dagsBucket  = "demo-dags"
	stateBucket = "demo-state"
	prefix      = "dags/"
	// window is how long events are gathered into one batch, as an SQS event source mapping does.
	window = time.Second
)

//go:embed all:dags
var samples embed.FS

// Options say how the demo shows itself.
type Options struct {
	Out        io.Writer
	Log        *slog.Logger
	OpenBucket func(endpoint string, u bucket.URL) (bucket.Bucket, error) // an S3 bucket of the embedded server
	Print      func(deployer.Result)                                      // shows one run
	Once       bool                                                       // one round, then compare and return
	Version    string
}

// demo is one running demo.
type demo struct {
	Options
	endpoint string // of the S3 server
	astroURL string
	astro    *astrotest.Server
	source   bucket.Bucket
	service  *service.Service
	changes  chan s3server.Change
}

// Run starts everything, uploads the sample DAGs, shows their deploy, and then serves until ctx ends. With Once it returns after the first
// round: an error if what is live is not what was uploaded.
func Run(ctx context.Context, o Options) error {
	d := &demo{Options: o, changes: make(chan s3server.Change, 1024)}
	stop, err := d.start(ctx)
	if err != nil {
		return err
	}
	defer stop()
	uploaded, err := d.uploadSamples(ctx)
	if err != nil {
		return err
	}
	if err := d.round(ctx); err != nil {
		return err
	}
	if o.Once {
		return d.compare(uploaded)
	}
	d.invite()
	return d.serve(ctx)
}

// start brings the servers up on loopback, and wires the function to them.
func (d *demo) start(ctx context.Context) (stop func(), err error) {
	s3 := s3server.New(dagsBucket, stateBucket)
	s3.OnChange = func(c s3server.Change) {
		if c.Bucket == dagsBucket {
			d.changes <- c
		}
	}
	d.astro = astrotest.New(astrotest.Options{LiveAfter: time.Second})
	mux := http.NewServeMux()
	mux.Handle("/", d.astro)
	mux.HandleFunc("GET /live", d.showLive)
	var stops []func()
	stop = func() {
		for _, s := range stops {
			s()
		}
	}
	for _, server := range []struct {
		handler http.Handler
		url     *string
	}{{s3, &d.endpoint}, {mux, &d.astroURL}} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			stop()
			return nil, err
		}
		srv := &http.Server{Handler: server.handler, ReadHeaderTimeout: 10 * time.Second}
		go srv.Serve(listener)
		stops = append(stops, func() { _ = srv.Close() })
		*server.url = "http://" + listener.Addr().String()
	}
	if err := d.wire(ctx); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// wire makes the function's service as its environment would.
func (d *demo) wire(ctx context.Context) error {
	token := astrotest.Token(astrotest.OrganizationID, time.Now().Add(24*time.Hour))
	env := map[string]string{
		"DAGBUCKET_SOURCE": "s3://" + dagsBucket + "/" + prefix, "DAGBUCKET_STATE": "s3://" + stateBucket + "/",
		"DAGBUCKET_ROUTE": "demo", "DAGBUCKET_QUIET_PERIOD": "1s", "ASTRO_DEPLOYMENT_ID": astrotest.DeploymentID,
		"ASTRO_API_TOKEN": token, "ASTRO_API_URL": d.astroURL + "/v1",
	}
	getenv := func(name string) string { return env[name] }
	cfg, err := config.Load(ctx, getenv, nil)
	if err != nil {
		return err
	}
	open := func(_ context.Context, u bucket.URL) (bucket.Bucket, error) { return d.OpenBucket(d.endpoint, u) }
	if d.source, err = open(ctx, cfg.Routes[0].Sources[0].URL); err != nil {
		return err
	}
	d.service, err = service.New(ctx, cfg, service.Deps{Buckets: bucket.Openers{"s3": open}, Secrets: secret.Local(getenv), Version: d.Version, Log: d.Log})
	return err
}

// uploadSamples puts the sample DAGs into the bucket, and returns what was put under its archive path.
func (d *demo) uploadSamples(ctx context.Context) (map[string]string, error) {
	fmt.Fprintf(d.Out, "Uploading sample DAGs to s3://%s/%s …\n", dagsBucket, prefix)
	uploaded := map[string]string{}
	err := fs.WalkDir(samples, "dags", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := samples.ReadFile(name)
		if err != nil {
			return err
		}
		key := prefix + strings.TrimPrefix(name, "dags/")
		if _, err := d.source.Put(ctx, key, strings.NewReader(string(content)), bucket.Always); err != nil {
			return err
		}
		uploaded[path.Join("dags", strings.TrimPrefix(name, "dags/"))] = string(content)
		return nil
	})
	return uploaded, err
}

// serve delivers batches of events until ctx ends.
func (d *demo) serve(ctx context.Context) error {
	for {
		if err := d.round(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

// round waits for changes, gathers those that follow within the window, and hands them to the function as SQS would.
func (d *demo) round(ctx context.Context) error {
	var batch []s3server.Change
	select {
	case c := <-d.changes:
		batch = append(batch, c)
	case <-ctx.Done():
		return ctx.Err()
	}
	timer := time.NewTimer(window)
	defer timer.Stop()
	for gathering := true; gathering; {
		select {
		case c := <-d.changes:
			batch = append(batch, c)
		case <-timer.C:
			gathering = false
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	fmt.Fprintf(d.Out, "\n%d S3 events arrive:\n", len(batch))
	for _, c := range batch {
		fmt.Fprintf(d.Out, "  %s %s\n", c.Event, c.Key)
	}
	return d.invoke(ctx, batch)
}

// invoke decodes the batch and runs the route, as the Lambda function does.
func (d *demo) invoke(ctx context.Context, changes []s3server.Change) error {
	payload, err := sqsBatch(changes)
	if err != nil {
		return err
	}
	batch, err := event.Decode(payload)
	if err != nil {
		return err
	}
	report := d.service.Handle(ctx, batch)
	for _, r := range report.Results {
		d.Print(r)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if len(report.Failed) > 0 && d.Once {
		return errors.New("the run failed")
	}
	return nil
}

// sqsBatch is the payload of an SQS event source mapping whose queue an S3 bucket notifies.
func sqsBatch(changes []s3server.Change) ([]byte, error) {
	type message struct {
		MessageID   string `json:"messageId"`
		Body        string `json:"body"`
		EventSource string `json:"eventSource"`
	}
	var batch struct {
		Records []message
	}
	for i, c := range changes {
		body, err := json.Marshal(c.Notification())
		if err != nil {
			return nil, err
		}
		batch.Records = append(batch.Records, message{fmt.Sprintf("message-%d", i+1), string(body), "aws:sqs"})
	}
	return json.Marshal(batch)
}

// compare checks that what is live is what was uploaded.
func (d *demo) compare(uploaded map[string]string) error {
	finalized := d.astro.Uploads(astrotest.DeploymentID)
	if len(finalized) == 0 {
		return errors.New("nothing was deployed")
	}
	files, err := astrotest.Files(finalized[len(finalized)-1].Archive())
	if err != nil {
		return err
	}
	_, desired := d.astro.Versions(astrotest.DeploymentID)
	if desired != finalized[len(finalized)-1].Version {
		return errors.New("what was uploaded was not finalized")
	}
	for _, f := range files {
		if content, ok := uploaded[f.Name]; !ok || content != string(f.Content) {
			return fmt.Errorf("%s was deployed but not uploaded like that", f.Name)
		}
		delete(uploaded, f.Name)
	}
	for name := range uploaded {
		return fmt.Errorf("%s was uploaded but not deployed", name)
	}
	fmt.Fprintf(d.Out, "\nWhat is deployed equals what was uploaded: %d files.\n", len(files))
	return nil
}

// invite prints what a person can paste.
func (d *demo) invite() {
	url := d.endpoint + "/" + dagsBucket + "/" + prefix
	fmt.Fprintf(d.Out, `
Now you are the DAG author. In another terminal:

  add a DAG      curl -X PUT --data-binary 'print("hello")' %[1]smy_dag.py
  change it      curl -X PUT --data-binary 'print("hello, Astro")' %[1]smy_dag.py
  delete it      curl -X DELETE %[1]smy_dag.py
  a burst        for i in 1 2 3 4 5; do curl -X PUT --data-binary "n = $i" %[1]steam/dag_$i.py; done
  what is live   curl %[2]s/live

A second after the last change the function runs; watch it here. Ctrl-C ends the demo.
`, url, d.astroURL)
}

// showLive lists what the stand-in's Deployment runs.
func (d *demo) showLive(w http.ResponseWriter, _ *http.Request) {
	files, err := d.astro.LiveFiles(astrotest.DeploymentID)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "%d files are live:\n", len(files))
	for _, f := range files {
		fmt.Fprintf(w, "  %s  %6d  %s\n", f.Modified.Format(time.RFC3339), f.Size, f.Name)
	}
}
