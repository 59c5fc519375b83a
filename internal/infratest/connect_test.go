//go:build infra

package infratest

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// awsCommand stands in for AWS's command line: it keeps one bucket's notification document in a file, and prints nothing for an empty one.
const awsCommand = `#!/usr/bin/env bash
set -eu
case "$1 $2" in
"s3api get-bucket-notification-configuration")
	if [ -e "$DOCUMENT.refused" ]; then echo "An error occurred (AccessDenied)" >&2; exit 254; fi
	cat "$DOCUMENT" ;;
"s3api put-bucket-notification-configuration")
	while [ "$1" != --notification-configuration ]; do shift; done
	printf '%s' "$2" > "$DOCUMENT"
	echo put >> "$DOCUMENT.log" ;;
*) echo "unexpected: $*" >&2; exit 252 ;;
esac
`

const others = `{
  "TopicConfigurations": [{"Id": "theirs", "TopicArn": "arn:aws:sns:eu-west-1:123456789012:theirs", "Events": ["s3:ObjectCreated:*"]}],
  "QueueConfigurations": [{"Id": "it's theirs", "QueueArn": "arn:aws:sqs:eu-west-1:123456789012:theirs", "Events": ["s3:ObjectCreated:*"],
    "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "a $HOME 'x'/"}]}}}],
  "LambdaFunctionConfigurations": [{"Id": "l", "LambdaFunctionArn": "arn:aws:lambda:eu-west-1:123456789012:function:theirs", "Events": ["s3:ObjectRemoved:*"]}]
}`

// TestConnectingABucketKeepsWhatIsThere runs the commands that the AWS module prints for buckets that it does not manage.
func TestConnectingABucketKeepsWhatIsThere(t *testing.T) {
	bin := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "aws"), []byte(awsCommand), 0o755))
	ran := map[string]int{}
	for _, i := range installations(t) {
		commands, _ := i.outputs["connect_bucket_commands"].(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(commands)) {
			command := commands[name].(string)
			kind := "eventbridge"
			if strings.Contains(command, "--argjson ours") {
				kind = "notification"
			}
			if ran[kind]++; ran[kind] > 8 { // they differ in names alone
				continue
			}
			for _, before := range []string{"", "{}", others} {
				c := connected{t, bin, filepath.Join(t.TempDir(), "document"), command}
				require.NoError(t, os.WriteFile(c.document, []byte(before), 0o644))
				require.NoError(t, c.run())
				once := c.read()
				c.requireKept(before, once)
				if kind == "eventbridge" {
					require.Equal(t, map[string]any{}, once["EventBridgeConfiguration"])
				} else {
					require.Greater(t, len(once["QueueConfigurations"].([]any)), strings.Count(before, "QueueArn"))
				}
				require.NoError(t, c.run())
				require.Equal(t, once, c.read(), "a second time changes nothing")

				require.NoError(t, os.WriteFile(c.document, []byte(before), 0o644))
				require.NoError(t, os.Remove(c.document+".log"))
				require.NoError(t, os.WriteFile(c.document+".refused", nil, 0o644))
				require.Error(t, c.run(), "what cannot be read must not be written")
				require.NoFileExists(t, c.document+".log")
			}
		}
	}
	require.NotZero(t, ran["eventbridge"])
	require.NotZero(t, ran["notification"])
}

type connected struct {
	t                      *testing.T
	bin, document, command string
}

// run gives the command to a shell, as an operator does.
func (c connected) run() error {
	cmd := exec.Command("bash", "-c", c.command)
	cmd.Env = append(os.Environ(), "PATH="+c.bin+string(os.PathListSeparator)+os.Getenv("PATH"), "DOCUMENT="+c.document)
	out, err := cmd.CombinedOutput()
	c.t.Logf("%s%s", c.command, out)
	return err
}

func (c connected) read() map[string]any {
	c.t.Helper()
	written, err := os.ReadFile(c.document)
	require.NoError(c.t, err)
	var document map[string]any
	require.NoError(c.t, json.Unmarshal(written, &document), string(written))
	return document
}

// requireKept compares what others have in the document.
func (c connected) requireKept(before string, after map[string]any) {
	c.t.Helper()
	if before == "" {
		return
	}
	var was map[string][]any
	require.NoError(c.t, json.Unmarshal([]byte(before), &was))
	for kind, entries := range was {
		for _, e := range entries {
			require.Contains(c.t, after[kind], e)
		}
	}
}

// TestDisconnectingABucketKeepsWhatIsThere: the command takes back what connecting added, whichever way events took, and nothing else. Connecting
// a bucket anew, after the way of its events has changed, takes the old entry back too: S3 would refuse a document with a queue that takes nothing.
func TestDisconnectingABucketKeepsWhatIsThere(t *testing.T) {
	bin := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "aws"), []byte(awsCommand), 0o755))
	ran := 0
	for _, i := range installations(t) {
		commands, _ := i.outputs["disconnect_bucket_commands"].(map[string]any)
		connect, _ := i.outputs["connect_bucket_commands"].(map[string]any)
		queue, _ := i.outputs["queue_arn"].(string)
		for _, name := range slices.Sorted(maps.Keys(commands)) {
			if ran++; ran > 8 {
				continue
			}
			ours := strings.Replace(others, `"QueueConfigurations": [`, `"QueueConfigurations": [{"Id": "old", "QueueArn": "`+queue+`", "Events": ["s3:ObjectCreated:*"]}, `, 1)
			for _, before := range []string{others, ours} {
				for _, command := range []string{commands[name].(string), connect[name].(string)} {
					c := connected{t, bin, filepath.Join(t.TempDir(), "document"), command}
					require.NoError(t, os.WriteFile(c.document, []byte(before), 0o644))
					require.NoError(t, c.run())
					after := c.read()
					c.requireKept(others, after)
					if command == commands[name] {
						var theirs map[string]any
						require.NoError(t, json.Unmarshal([]byte(others), &theirs))
						require.Equal(t, theirs, after)
					}
					for _, e := range after["QueueConfigurations"].([]any) {
						require.NotEqual(t, "old", e.(map[string]any)["Id"])
					}
				}
			}
		}
	}
	require.NotZero(t, ran)
}

// TestCommandsAreBash: what people are told to run can be run.
func TestCommandsAreBash(t *testing.T) {
	seen := map[string]bool{}
	for _, i := range installations(t) {
		for name, value := range i.outputs {
			if !strings.Contains(name, "command") && name != "next" {
				continue
			}
			for _, command := range flattened(value) {
				if seen[command] {
					continue
				}
				seen[command] = true
				out, err := exec.Command("bash", "-n", "-c", command).CombinedOutput()
				require.NoError(t, err, "%s: %s: %s\n%s", i.plan, name, command, out)
			}
		}
	}
	require.Greater(t, len(seen), 10)
}

// flattened are the texts within a value of Terraform's.
func flattened(value any) (found []string) {
	switch v := value.(type) {
	case string:
		found = append(found, v)
	case []any:
		for _, e := range v {
			found = append(found, flattened(e)...)
		}
	case map[string]any:
		for _, e := range v {
			found = append(found, flattened(e)...)
		}
	}
	return found
}

// TestTheTokenIsAskedFor runs the command that stores it, as on a terminal, and looks at what the cloud's command line gets.
func TestTheTokenIsAskedFor(t *testing.T) {
	bin := t.TempDir()
	for _, name := range []string{"aws", "gcloud"} {
		script := "#!/usr/bin/env bash\nprintf '%s\\n' \"$*\" > \"$SAID.args\"\ncat > \"$SAID\"\n"
		if name == "aws" { // which reads file:///dev/stdin itself
			script = strings.Replace(script, "cat >", "[[ \"$*\" == *file:///dev/stdin* ]] && cat >", 1)
		}
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755))
	}
	clouds := map[string]bool{}
	for _, i := range installations(t) {
		command, _ := i.outputs["fill_token_command"].(string)
		if command == "" || clouds[i.cloud] {
			continue
		}
		clouds[i.cloud] = true
		said := filepath.Join(t.TempDir(), "said")
		cmd := exec.Command("bash", "-e", "-c", command)
		cmd.Stdin = strings.NewReader("the token $x '\n")
		cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "SAID="+said)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s\n%s", command, out)
		stored, err := os.ReadFile(said)
		require.NoError(t, err)
		require.Equal(t, "the token $x '", string(stored))
		args, err := os.ReadFile(said + ".args")
		require.NoError(t, err)
		require.NotContains(t, string(args), "the token", "others see the arguments of a process")

		cmd = exec.Command("bash", "-e", "-c", command)
		cmd.Stdin, cmd.Env = strings.NewReader("\n"), append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "SAID="+said+"2")
		require.Error(t, cmd.Run(), "an empty token")
		require.NoFileExists(t, said+"2")
	}
	require.Equal(t, map[string]bool{"aws": true, "gcp": true}, clouds)
}
