package main

import (
	"context"
	"io"
	"net/http"

	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"

	"github.com/dagbucket/dagbucket/internal/deployer"
)

type gcsStore struct{ client *storage.Client }

// newGCS keeps as many connections as there are readers, as dagbucket does. A transport of one's own spares the library's telemetry, and
// reads are faster by the XML API, which is the library's default.
func newGCS(ctx context.Context) (store, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost, transport.MaxIdleConns = deployer.DefaultWindow, deployer.DefaultWindow
	client, err := storage.NewClient(ctx, option.WithHTTPClient(&http.Client{Transport: transport}), storage.WithDisabledClientMetrics())
	return gcsStore{client}, err
}

func (s gcsStore) list(ctx context.Context, bucket, prefix string) ([]string, error) {
	query := &storage.Query{Prefix: prefix, Projection: storage.ProjectionNoACL}
	if err := query.SetAttrSelection([]string{"Name"}); err != nil {
		return nil, err
	}
	var keys []string
	objects := s.client.Bucket(bucket).Objects(ctx, query)
	for {
		o, err := objects.Next()
		if err == iterator.Done {
			return keys, nil
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, o.Name)
	}
}

func (s gcsStore) open(ctx context.Context, bucket, key string) (io.ReadCloser, int64, error) {
	r, err := s.client.Bucket(bucket).Object(key).NewReader(ctx)
	if err != nil {
		return nil, 0, err
	}
	return r, r.Attrs.Size, nil
}

// put sends the content as one request: there is nothing to wait for between chunks.
func (s gcsStore) put(ctx context.Context, bucket, key string, content []byte) error {
	w := s.client.Bucket(bucket).Object(key).NewWriter(ctx)
	w.ChunkSize = 0
	if _, err := w.Write(content); err != nil {
		return err
	}
	return w.Close()
}

func (s gcsStore) delete(ctx context.Context, bucket, key string) error {
	return s.client.Bucket(bucket).Object(key).Delete(ctx)
}
