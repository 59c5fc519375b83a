package deployer

import (
	"context"
	"io"
	"path"
	"strings"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/bundle"
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

// ignoreFileLimit is one byte more than selection reads.
const ignoreFileLimit = 1<<20 + 1

// readAirflowIgnores reads the ignore files of the plan. They are few, and read only if there is a broken file.
func (x *run) readAirflowIgnores(ctx context.Context) error {
	syntaxes := x.deployment.Ignores
	if len(syntaxes) == 0 {
		syntaxes = []selection.AirflowSyntax{selection.Airflow2Regexp, selection.Airflow2Glob, selection.Airflow3Regexp, selection.Airflow3Glob}
	}
	x.checks.ignores = make([]map[string]*selection.AirflowIgnore, len(syntaxes))
	for i := range syntaxes {
		x.checks.ignores[i] = map[string]*selection.AirflowIgnore{}
	}
	for i := range x.plan.items {
		it := &x.plan.items[i]
		if path.Base(it.path) != selection.AirflowIgnoreFile {
			continue
		}
		content, err := x.readShipped(ctx, it)
		if err != nil {
			return err
		}
		folder := path.Dir(strings.TrimPrefix(it.path, x.archivePath("")))
		if folder == "." {
			folder = ""
		}
		for i, s := range syntaxes {
			x.checks.ignores[i][folder] = selection.ParseAirflowIgnore(content, s)
		}
	}
	return nil
}

// readShipped reads a small file that the plan ships, from where the packer takes it.
func (x *run) readShipped(ctx context.Context, it *item) ([]byte, error) {
	if it.object == nil {
		return x.readLiveMember(ctx, it.path)
	}
	body := bucket.NewReader(ctx, x.Sources[it.source].Bucket, *it.object)
	defer body.Close()
	var from io.Reader = body
	if it.object.Gzip {
		from = &gunzip{from: body}
	}
	content, err := io.ReadAll(io.LimitReader(from, ignoreFileLimit))
	if err != nil {
		return nil, x.fetchError(it, err)
	}
	return content, nil
}

// readLiveMember reads the beginning of a file of the live bundle, beside the packer, which goes through it in order.
func (x *run) readLiveMember(ctx context.Context, p string) ([]byte, error) {
	live := x.record.Live
	body, err := x.Store.OpenBundle(ctx, live.Run, live.BundleSize)
	if err != nil {
		return nil, bundleError(ctx, err)
	}
	defer body.Close()
	r, err := bundle.NewReader(body)
	if err != nil {
		return nil, bundleError(ctx, err)
	}
	if _, err := r.Seek(p); err != nil {
		return nil, bundleError(ctx, err)
	}
	content, err := io.ReadAll(io.LimitReader(r, ignoreFileLimit))
	if err != nil {
		return nil, bundleError(ctx, err)
	}
	return content, nil
}
