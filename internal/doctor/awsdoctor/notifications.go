package awsdoctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/dagbucket/dagbucket/internal/doctor"
)

// ways are the targets that are told of changes below a source, and what was found that is none.
type ways struct {
	created, removed []string          // ARNs
	notes            []string          // why entries that are there do not do
	repair           string            // "" is an entry in the bucket's document
	unsure           *doctor.Check     // of what could not be looked at
	sender           map[string]string // by target: the service that tells it
}

// The services that tell of changes.
const (
	senderS3          = "s3.amazonaws.com"
	senderEventBridge = "events.amazonaws.com"
)

const connect = "run the module's connect_bucket_commands (terraform output), or give the bucket's notification document an entry for s3:ObjectCreated:* and " +
	"s3:ObjectRemoved:* with the prefix %q, without a suffix, that sends to the function's queue"

// Wiring checks the way from the bucket to the function.
func (d *Doctor) Wiring(ctx context.Context, w doctor.Want) []doctor.Check {
	const name = "notifications"
	if d.alone() {
		return []doctor.Check{doctor.Skip(name, "the storage is a server of one's own (AWS_ENDPOINT_URL_S3): there is nothing beside it to look at")}
	}
	if err := d.connect(ctx); err != nil {
		return []doctor.Check{doctor.Warn(name, "correct the AWS settings", "it cannot be looked at: %s", brief(err))}
	}
	document, err := d.s3.GetBucketNotificationConfiguration(ctx, &s3.GetBucketNotificationConfigurationInput{Bucket: &w.Source.Bucket})
	if err != nil {
		return []doctor.Check{cannotLook(name, "s3:GetBucketNotification", err)}
	}
	found := fromDocument(document, w.Source.Prefix)
	if document.EventBridgeConfiguration != nil {
		d.fromEventBridge(ctx, w.Source, found)
	}
	told := found.check(w)
	if told.Status != doctor.OK {
		return []doctor.Check{told}
	}
	return append([]doctor.Check{told}, doctor.Choose(found.created, found.removed, func(target string) []doctor.Check {
		return d.follow(ctx, w, target, found.sender[target])
	})...)
}

// check says whether somebody is told of everything.
func (f *ways) check(w doctor.Want) doctor.Check {
	if f.unsure != nil && (len(f.created) == 0 || len(f.removed) == 0) {
		return *f.unsure
	}
	by := "the bucket's notifications"
	if len(f.created) > 0 && f.sender[f.created[0]] == senderEventBridge {
		by = "the rules of EventBridge"
	}
	return w.CheckTold(by, cmp.Or(f.repair, fmt.Sprintf(connect, w.Source.Prefix)), f.created, f.removed, f.notes)
}

// add notes a target that is told of new files, or of deletions.
func (f *ways) add(target, sender string, created, removed bool) {
	f.sender[target] = sender
	if created && !slices.Contains(f.created, target) {
		f.created = append(f.created, target)
	}
	if removed && !slices.Contains(f.removed, target) {
		f.removed = append(f.removed, target)
	}
}

// The kinds of events that a notification must be for: one with the star, or all the others.
var (
	createdEvents = []string{"s3:ObjectCreated:*", "s3:ObjectCreated:Put", "s3:ObjectCreated:Post", "s3:ObjectCreated:Copy", "s3:ObjectCreated:CompleteMultipartUpload"}
	removedEvents = []string{"s3:ObjectRemoved:*", "s3:ObjectRemoved:Delete", "s3:ObjectRemoved:DeleteMarkerCreated"}
)

func fromDocument(document *s3.GetBucketNotificationConfigurationOutput, prefix string) *ways {
	f := &ways{sender: map[string]string{}}
	for _, q := range document.QueueConfigurations {
		f.entry(prefix, q.Id, q.QueueArn, q.Events, q.Filter)
	}
	for _, t := range document.TopicConfigurations {
		f.entry(prefix, t.Id, t.TopicArn, t.Events, t.Filter)
	}
	for _, l := range document.LambdaFunctionConfigurations {
		f.entry(prefix, l.Id, l.LambdaFunctionArn, l.Events, l.Filter)
	}
	return f
}

// entry notes one entry of the bucket's document.
func (f *ways) entry(source string, id, target *string, events []types.Event, filter *types.NotificationConfigurationFilter) {
	prefix, suffix := filterOf(filter)
	label := fmt.Sprintf("entry %q", aws.ToString(id))
	switch {
	case !strings.HasPrefix(source, prefix):
		if strings.HasPrefix(prefix, source) {
			f.notes = append(f.notes, fmt.Sprintf("%s is for %q only", label, prefix))
		}
		return
	case suffix != "":
		f.notes = append(f.notes, fmt.Sprintf("%s is for names that end in %q only, and other files are deployed too", label, suffix))
		return
	}
	created, removed := coversAll(events, createdEvents), coversAll(events, removedEvents)
	f.add(aws.ToString(target), senderS3, created, removed)
	if !created || !removed {
		f.notes = append(f.notes, fmt.Sprintf("%s is for %s", label, joined(events)))
	}
}

func filterOf(filter *types.NotificationConfigurationFilter) (prefix, suffix string) {
	if filter == nil || filter.Key == nil {
		return "", ""
	}
	for _, rule := range filter.Key.FilterRules {
		if strings.EqualFold(string(rule.Name), "prefix") {
			prefix = aws.ToString(rule.Value)
		} else {
			suffix = aws.ToString(rule.Value)
		}
	}
	return prefix, suffix
}

// coversAll reports whether events hold the first of the kinds, or all others.
func coversAll(events []types.Event, kinds []string) bool {
	has := func(kind string) bool { return slices.Contains(events, types.Event(kind)) }
	return has(kinds[0]) || !slices.ContainsFunc(kinds[1:], func(kind string) bool { return !has(kind) })
}

func joined(events []types.Event) string {
	words := make([]string, len(events))
	for i, e := range events {
		words[i] = string(e)
	}
	return strings.Join(words, ", ")
}

// follow checks what a target leads to. sender is the service that sends there.
func (d *Doctor) follow(ctx context.Context, w doctor.Want, target, sender string) []doctor.Check {
	name, err := arn.Parse(target)
	if err != nil {
		return []doctor.Check{doctor.Bad("queue", "let the bucket tell the function's queue", "changes go to %q, which is no ARN", doctor.Line(target))}
	}
	switch name.Service {
	case "sqs":
		return d.queue(ctx, w, name, sender)
	case "lambda":
		return d.function(ctx, w, target, 0)
	case "sns":
		return []doctor.Check{doctor.Skip("queue", "changes go to the topic %s: what it calls is not looked at, and the last run's age stands for it", target)}
	}
	return []doctor.Check{doctor.Bad("queue", "let the bucket tell the function's queue", "changes go to %s, which leads to no function", target)}
}
