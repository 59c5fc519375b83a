package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// template downloads one object after the other, as the documentation's function does.
func (f *floor) template(ctx context.Context) error {
	folder, err := os.MkdirTemp("", "dagbucket-bench-template-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	keys, err := f.list(ctx, f.source.bucket, f.source.prefix)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := f.download(ctx, key, filepath.Join(folder, strings.TrimPrefix(key, f.source.prefix))); err != nil {
			return fmt.Errorf("downloading %s: %w", key, err)
		}
	}
	return f.uploadFolder(ctx, folder)
}

func (f *floor) download(ctx context.Context, key, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	body, _, err := f.open(ctx, f.source.bucket, key)
	if err != nil {
		return err
	}
	defer body.Close()
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, body)
	return errors.Join(err, file.Close())
}

// copyWithRclone makes the folder equal to the source. Into a new folder, sync is copy.
func (f *floor) copyWithRclone(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, f.rclone, "sync", "bench:"+f.source.bucket+"/"+f.source.prefix, f.folder,
		"--transfers", "64", "--checkers", "64", "--fast-list", "--use-server-modtime")
	if _, err := os.Stat(f.folder); errors.Is(err, fs.ErrNotExist) {
		cmd.Args[1] = "copy"
	}
	cmd.Env = append(os.Environ(), "RCLONE_CONFIG=/notfound", "RCLONE_CONFIG_BENCH_TYPE=s3", "RCLONE_CONFIG_BENCH_PROVIDER=Other",
		"RCLONE_CONFIG_BENCH_FORCE_PATH_STYLE=true", "RCLONE_CONFIG_BENCH_ENV_AUTH=true",
		"RCLONE_CONFIG_BENCH_REGION="+os.Getenv("AWS_REGION"), "RCLONE_CONFIG_BENCH_ENDPOINT="+os.Getenv("AWS_ENDPOINT_URL_S3"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("rclone: %w: %s", err, out)
	}
	return f.uploadFolder(ctx, f.folder)
}

// uploadFolder packs a folder with Go's own gzip, as Astro's command line does, beside that folder.
func (f *floor) uploadFolder(ctx context.Context, folder string) error {
	packed, err := os.CreateTemp("", "dagbucket-bench-*.tar.gz")
	if err != nil {
		return err
	}
	defer os.Remove(packed.Name())
	defer packed.Close()
	if err := packFolder(packed, folder); err != nil {
		return fmt.Errorf("packing: %w", err)
	}
	size, err := packed.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if _, err := packed.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return putToAstro(ctx, f.upload, packed, size)
}

func packFolder(w io.Writer, folder string) error {
	gz := gzip.NewWriter(w)
	archive := tar.NewWriter(gz)
	if err := archive.AddFS(os.DirFS(folder)); err != nil {
		return err
	}
	return errors.Join(archive.Close(), gz.Close())
}
