package deployer

import (
	"bytes"
	"context"
	"io"
	"path"
	"strings"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/selection"
)

// ignoredByAirflow reports whether Airflow would not look at a path, in any of the ways that it may read its ignore files.
func (x *run) ignoredByAirflow(ctx context.Context, p string) (bool, error) {
	below, ok := strings.CutPrefix(p, x.archivePath(""))
	if !ok {
		return false, nil
	}
	if x.checks.ignores == nil {
		if err := x.readAirflowIgnores(ctx); err != nil {
			return false, err
		}
	}
	for _, files := range x.checks.ignores {
		if selection.IgnoredByAirflow(below, files) {
			return true, nil
		}
	}
	return false, nil
}

// readAirflowIgnores reads the ignore files of the plan. They are few, and read only if there is a broken file.
func (x *run) readAirflowIgnores(ctx context.Context) error {
	syntaxes := x.deployment.Ignores
	if len(syntaxes) == 0 {
		syntaxes = []selection.AirflowSyntax{selection.Airflow2Regexp, selection.Airflow3Glob} // the defaults
	}
	ignores := make([]map[string]*selection.AirflowIgnore, len(syntaxes))
	for i := range syntaxes {
		ignores[i] = map[string]*selection.AirflowIgnore{}
	}
	live := x.liveBundle() // beside the packer's, which goes through it in order
	defer live.close()
	for i := range x.plan.items {
		it := &x.plan.items[i]
		if path.Base(it.path) != selection.AirflowIgnoreFile {
			continue
		}
		content, err := x.readShipped(ctx, it, live)
		if err != nil {
			return err
		}
		folder := path.Dir(strings.TrimPrefix(it.path, x.archivePath("")))
		if folder == "." {
			folder = ""
		}
		for k, syntax := range syntaxes {
			ignores[k][folder] = selection.ParseAirflowIgnore(content, syntax)
		}
	}
	x.checks.ignores = ignores
	return nil
}

// readShipped reads the beginning of a file that the plan ships, from where the packer takes it. Files are asked for in order of path.
func (x *run) readShipped(ctx context.Context, it *item, live *storedBundle) ([]byte, error) {
	if it.object == nil {
		return live.read(ctx, it.path, selection.MaxAirflowIgnore+1)
	}
	body := bucket.NewReader(x.account.ofSources(ctx), x.Sources[it.source].Bucket, *it.object)
	defer body.Close()
	content, err := io.ReadAll(io.LimitReader(body, selection.MaxAirflowIgnore+1))
	if err != nil {
		return nil, x.fetchError(it, err)
	}
	if it.object.Gzip {
		decoded, err := io.ReadAll(io.LimitReader(&gunzip{from: io.NopCloser(bytes.NewReader(content))}, selection.MaxAirflowIgnore+1))
		if err == nil { // else its bytes are not what their encoding says, and are shipped as they are
			content = decoded
		}
	}
	return content, nil
}
