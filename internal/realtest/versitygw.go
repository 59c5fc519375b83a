// Package realtest holds what the tests and benchmarks against real servers share.
package realtest

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	accessKey = "dagbucket"
	secretKey = "dagbucket-secret"
	startTime = 20 * time.Second // for the server to answer; it takes a tenth of a second on an idle machine
	stopTime  = 5 * time.Second  // for it to end by itself
)

// Gateway is a running versitygw, an S3 server over a local directory.
type Gateway struct {
	Endpoint  string // URL, such as "http://127.0.0.1:7070"
	AccessKey string
	SecretKey string

	command *exec.Cmd
	exited  chan struct{} // closed when the process is gone
}

// StartVersitygw starts the versitygw binary on a free port of 127.0.0.1, with its buckets below dir, which is created. The binary
// is the one that DAGBUCKET_VERSITYGW names, else build/tools/versitygw of the project.
func StartVersitygw(dir string) (*Gateway, error) {
	binary, err := versitygwBinary()
	if err != nil {
		return nil, err
	}
	// Somebody else may take the free port before the server does.
	for range 3 {
		var g *Gateway
		if g, err = startOnce(binary, dir); err == nil {
			return g, nil
		}
	}
	return nil, err
}

func versitygwBinary() (string, error) {
	binary := os.Getenv("DAGBUCKET_VERSITYGW")
	if binary == "" {
		root, err := ProjectRoot()
		if err != nil {
			return "", err
		}
		binary = filepath.Join(root, "build", "tools", "versitygw")
	}
	if _, err := os.Stat(binary); err != nil {
		return "", fmt.Errorf("the S3 server versitygw is not built: run `make test-real`: %w", err)
	}
	return binary, nil
}

// ProjectRoot walks up from the working directory to the one that holds the entry points.
func ProjectRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if info, err := os.Stat(filepath.Join(dir, "functions")); err == nil && info.IsDir() {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not inside the project: no directory above it holds \"functions\"", start)
		}
	}
}

func startOnce(binary, dir string) (*Gateway, error) {
	data, sidecar := filepath.Join(dir, "data"), filepath.Join(dir, "sidecar")
	for _, d := range []string{data, sidecar} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	arguments := []string{"--quiet", "--keep-alive", "--port", address, "--health", "/health", "posix"}
	if !hasExtendedAttributes(data) {
		arguments = append(arguments, "--sidecar", sidecar)
	}
	log, err := os.Create(filepath.Join(dir, "versitygw.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has its own copy
	command := exec.Command(binary, append(arguments, data)...)
	command.Env = []string{"ROOT_ACCESS_KEY=" + accessKey, "ROOT_SECRET_KEY=" + secretKey, "HOME=" + dir}
	command.Dir, command.Stdout, command.Stderr = dir, log, log
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", binary, err)
	}
	g := &Gateway{Endpoint: "http://" + address, AccessKey: accessKey, SecretKey: secretKey, command: command, exited: make(chan struct{})}
	go func() {
		_ = command.Wait() // how it ended is in its log
		close(g.exited)
	}()
	if err := g.waitUntilItAnswers(); err != nil {
		g.Stop()
		tail, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%s: %w\n%s", binary, err, tail)
	}
	return g, nil
}

func (g *Gateway) waitUntilItAnswers() error {
	client := http.Client{Timeout: time.Second}
	defer client.CloseIdleConnections()
	deadline := time.After(startTime)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case <-g.exited:
			return errors.New("it ended before it answered")
		case <-deadline:
			return fmt.Errorf("it does not answer within %s", startTime)
		case <-poll.C:
		}
		response, err := client.Get(g.Endpoint + "/health")
		if err != nil {
			continue
		}
		_ = response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return nil
		}
	}
}

// Stop ends the server and waits until it is gone. It may be called again.
func (g *Gateway) Stop() {
	_ = g.command.Process.Signal(os.Interrupt)
	select {
	case <-g.exited:
	case <-time.After(stopTime):
		_ = g.command.Process.Kill()
		<-g.exited
	}
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

// hasExtendedAttributes reports whether the server can keep ETags in the files' attributes; on some file systems it cannot.
func hasExtendedAttributes(dir string) bool {
	file := filepath.Join(dir, ".attributes")
	if err := os.WriteFile(file, nil, fs.FileMode(0o600)); err != nil {
		return false
	}
	defer os.Remove(file)
	return unix.Setxattr(file, "user.dagbucket", []byte("x"), 0) == nil
}
