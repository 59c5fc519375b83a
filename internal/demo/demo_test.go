package demo_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/awswire"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/demo"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/gcpwire"
	"github.com/dagbucket/dagbucket/internal/pysyntax"
)

// open are the means of each cloud that has a demo.
var open = map[demo.Cloud]func(context.Context, string) (bucket.Openers, error){demo.AWS: awswire.Anonymous, demo.GCP: gcpwire.Anonymous}

func TestOnce(t *testing.T) {
	for cloud, says := range map[demo.Cloud][]string{
		demo.AWS: {"s3://demo-dags/dags/ …", "S3 events arrive through SQS:\n  ObjectCreated:Put dags/"},
		demo.GCP: {"gs://demo-dags/dags/ …", "Cloud Storage events arrive through Pub/Sub:\n  OBJECT_FINALIZE dags/"},
	} {
		t.Run(string(cloud), func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			var results []deployer.Result
			err := demo.Run(t.Context(), demo.Options{Cloud: cloud, Out: &out, Log: slog.New(slog.DiscardHandler), Open: open[cloud], Once: true,
				Print: func(r deployer.Result) { results = append(results, r) }})
			require.NoError(t, err, out.String())
			require.Equal(t, deployer.Deployed, results[0].Outcome)
			for _, r := range results[1:] {
				require.Equal(t, deployer.Unchanged, r.Outcome, "all share one run, but for late ones")
			}
			require.Contains(t, results[0].Added, "dags/.airflowignore")
			for _, text := range append(says, "What is deployed equals what was uploaded") {
				require.Contains(t, out.String(), text)
			}
		})
	}
}

func TestUnknownCloud(t *testing.T) {
	require.ErrorContains(t, demo.Run(t.Context(), demo.Options{Cloud: "azure"}), `"azure"`)
}

// TestThePrintedCommands does with plain HTTP what the demo tells a person to do with curl.
func TestThePrintedCommands(t *testing.T) {
	for cloud := range open {
		t.Run(string(cloud), func(t *testing.T) {
			t.Parallel()
			p := startPerson(t, cloud)
			require.Equal(t, deployer.Deployed, (<-p.results).Outcome)
			require.Equal(t, []string{"+ dags/my_dag.py"}, p.does("add a DAG", 1))
			p.seesLive(" 14  dags/my_dag.py\n")
			require.Equal(t, []string{"~ dags/my_dag.py"}, p.does("change it", 1))
			p.seesLive(" 21  dags/my_dag.py\n")
			require.Equal(t, []string{"kept dags/my_dag.py"}, p.does("break it", 1))
			p.seesLive(" 21  dags/my_dag.py\n")
			require.Contains(t, p.curl("curl "+p.page), "dags/my_dag.py", "the page tells of what is kept")
			require.Equal(t, []string{"- dags/my_dag.py"}, p.does("delete it", 1))
			require.Equal(t, []string{"+ dags/team/dag_1.py", "+ dags/team/dag_2.py", "+ dags/team/dag_3.py", "+ dags/team/dag_4.py",
				"+ dags/team/dag_5.py"}, p.does("a burst", 5))
			p.cancel()
			require.NoError(t, <-p.ended)
		})
	}
}

// person plays with a demo.
type person struct {
	t        *testing.T
	ctx      context.Context
	cancel   context.CancelFunc
	results  chan deployer.Result
	ended    chan error
	commands map[string]string // that were printed
	page     string            // its address
}

func startPerson(t *testing.T, cloud demo.Cloud) *person {
	p := &person{t: t, results: make(chan deployer.Result, 10), ended: make(chan error, 1), commands: map[string]string{}}
	p.ctx, p.cancel = context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(p.cancel)
	out, said := io.Pipe()
	go func() {
		p.ended <- demo.Run(p.ctx, demo.Options{Cloud: cloud, Out: said, Log: slog.New(slog.DiscardHandler), Open: open[cloud],
			Syntax: pysyntax.New(pysyntax.Options{Cache: "../../build/pysyntax/test", Make: true}), // as the other tests
			Print:  func(r deployer.Result) { p.results <- r }})
		_ = said.Close()
	}()
	text := readUntil(t, out, "Ctrl-C ends the demo")
	go func() { _, _ = io.Copy(io.Discard, out) }()
	for _, line := range regexp.MustCompile(`(?m)^  (.{14}) ((for|curl) .*)$`).FindAllStringSubmatch(text, -1) {
		p.commands[strings.TrimSpace(line[1])] = line[2]
	}
	require.Len(t, p.commands, 6, text)
	address := regexp.MustCompile(`(?m)^  a page to see  (http\S+)$`).FindStringSubmatch(text)
	require.NotNil(t, address, text)
	p.page = address[1]
	return p
}

// does runs a printed command, and returns what became of files, until it was so many.
func (p *person) does(command string, changes int) []string {
	p.t.Helper()
	line := p.commands[command]
	if loop := regexp.MustCompile(`^for i in (.*); do (.*); done$`).FindStringSubmatch(line); loop != nil {
		for _, i := range strings.Fields(loop[1]) {
			p.curl(strings.ReplaceAll(loop[2], "$i", i))
		}
	} else {
		p.curl(line)
	}
	var deployed []string
	for len(deployed) < changes {
		select {
		case r := <-p.results:
			for mark, paths := range map[string][]string{"+ ": r.Added, "~ ": r.Modified, "- ": r.Removed} {
				for _, path := range paths {
					deployed = append(deployed, mark+path)
				}
			}
			for _, n := range r.Kept {
				deployed = append(deployed, "kept "+n.Path)
			}
		case <-p.ctx.Done():
			require.FailNow(p.t, "it was not deployed", "%s: %s", command, deployed)
		}
	}
	return slices.Sorted(slices.Values(deployed))
}

// seesLive waits until the Deployment runs what was deployed.
func (p *person) seesLive(file string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return strings.Contains(p.curl(p.commands["what is live"]), file) }, 10*time.Second, 50*time.Millisecond)
}

// curl does what curl would, and returns the answer.
func (p *person) curl(line string) string {
	p.t.Helper()
	method, body, header, url := http.MethodGet, "", http.Header{}, ""
	words := regexp.MustCompile(`'[^']*'|"[^"]*"|[^ ]+`).FindAllString(line, -1)
	for i, word := range words {
		if quote := word[:1]; quote == "'" || quote == `"` {
			words[i] = strings.Trim(word, quote)
		}
	}
	for i := 1; i < len(words); i++ {
		switch words[i] {
		case "-X":
			method = words[i+1]
		case "--data-binary":
			body = words[i+1]
		case "-H":
			name, value, _ := strings.Cut(words[i+1], ": ")
			header.Set(name, value)
		case "-fsSo":
		default:
			url = words[i]
			continue
		}
		i++
	}
	request, err := http.NewRequestWithContext(p.ctx, method, url, strings.NewReader(body))
	require.NoError(p.t, err)
	request.Header = header
	answer, err := http.DefaultClient.Do(request)
	require.NoError(p.t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(p.t, err)
	require.Less(p.t, answer.StatusCode, 300, "%s: %s", line, text)
	return string(text)
}

func readUntil(t *testing.T, r io.Reader, text string) string {
	t.Helper()
	var read strings.Builder
	buffer := make([]byte, 1024)
	for !strings.Contains(read.String(), text) {
		n, err := r.Read(buffer)
		require.NoError(t, err, read.String())
		read.Write(buffer[:n])
	}
	return read.String()
}
