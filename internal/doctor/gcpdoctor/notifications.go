package gcpdoctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dagbucket/dagbucket/internal/doctor"
	"github.com/dagbucket/dagbucket/internal/googleauth"
)

const connect = "run the module's connect_commands (terraform output), or: gcloud storage buckets notifications create gs://%s --topic=TOPIC --payload-format=json " +
	"--event-types=OBJECT_FINALIZE,OBJECT_DELETE,OBJECT_ARCHIVE --object-prefix=%s"

// Wiring checks the way from the bucket to the function. Eventarc's triggers make notifications, topics and subscriptions as well.
func (d *Doctor) Wiring(ctx context.Context, w doctor.Want) []doctor.Check {
	const name = "notifications"
	if d.emulated() {
		return []doctor.Check{doctor.Skip(name, "the storage is a stand-in (STORAGE_EMULATOR_HOST): there is nothing beside it to look at")}
	}
	if err := d.connect(ctx); err != nil {
		return []doctor.Check{doctor.Warn(name, googleauth.LogIn, "it cannot be looked at: %s", doctor.Line(err.Error()))}
	}
	found, err := d.storage.Bucket(w.Source.Bucket).Notifications(ctx)
	if err != nil {
		return []doctor.Check{cannotLook(name, "storage.buckets.get on gs://"+w.Source.Bucket, err)}
	}
	created, removed, notes := topicsOf(found, w.Source.Prefix, d.deletion(ctx, w.Source.Bucket))
	told := w.CheckTold("the bucket's notifications", fmt.Sprintf(connect, w.Source.Bucket, w.Source.Prefix), created, removed, notes)
	if told.Status != doctor.OK {
		return []doctor.Check{told}
	}
	return append([]doctor.Check{told}, doctor.Choose(created, removed, func(topic string) []doctor.Check { return d.topic(ctx, w, topic) })...)
}

// deletion is the event of a file that is deleted: a bucket that keeps versions only archives it. Whoever may see notifications may see that.
func (d *Doctor) deletion(ctx context.Context, bucket string) string {
	if attributes, err := d.storage.Bucket(bucket).Attrs(ctx); err == nil && attributes.VersioningEnabled {
		return storage.ObjectArchiveEvent
	}
	return storage.ObjectDeleteEvent
}

// topicsOf returns the topics that are told of new files below the prefix, and of deletions; notes say why other notifications do not do.
func topicsOf(found map[string]*storage.Notification, prefix, deletion string) (created, removed, notes []string) {
	for _, id := range slices.Sorted(maps.Keys(found)) {
		n := found[id]
		if !strings.HasPrefix(prefix, n.ObjectNamePrefix) {
			if strings.HasPrefix(n.ObjectNamePrefix, prefix) {
				notes = append(notes, fmt.Sprintf("notification %s is for %q only", id, n.ObjectNamePrefix))
			}
			continue
		}
		topic := "projects/" + n.TopicProjectID + "/topics/" + n.TopicID
		has := func(kind string) bool { return len(n.EventTypes) == 0 || slices.Contains(n.EventTypes, kind) }
		if has(storage.ObjectFinalizeEvent) && !slices.Contains(created, topic) {
			created = append(created, topic)
		}
		if has(deletion) && !slices.Contains(removed, topic) {
			removed = append(removed, topic)
		}
		if !has(storage.ObjectFinalizeEvent) || !has(deletion) {
			notes = append(notes, fmt.Sprintf("notification %s is for %s", id, strings.Join(n.EventTypes, ", ")))
		}
	}
	return created, removed, notes
}

// topic checks what takes a topic's messages to a function.
func (d *Doctor) topic(ctx context.Context, w doctor.Want, topic string) []doctor.Check {
	const name = "subscription"
	var names []string
	found := d.topics.ListTopicSubscriptions(ctx, &pubsubpb.ListTopicSubscriptionsRequest{Topic: topic})
	for {
		subscription, err := found.Next()
		switch {
		case err == iterator.Done:
			return d.subscription(ctx, w, topic, names)
		case status.Code(err) == codes.NotFound:
			return []doctor.Check{doctor.Bad(name, "apply Terraform again, or make the topic "+topic, "the notifications go to %s, which does not exist", topic)}
		case err != nil:
			return []doctor.Check{cannotLook(name, "pubsub.topics.get on "+topic, err)}
		}
		names = append(names, subscription)
	}
}

// subscription checks the push subscription of a topic that gets furthest.
func (d *Doctor) subscription(ctx context.Context, w doctor.Want, topic string, names []string) []doctor.Check {
	if len(names) == 0 {
		return []doctor.Check{doctor.Bad("subscription", pushRepair(topic), "the topic %s has no subscription: every event is lost", topic)}
	}
	return doctor.Choose(names, names, func(name string) []doctor.Check {
		s, err := d.subscriptions.GetSubscription(ctx, &pubsubpb.GetSubscriptionRequest{Subscription: name})
		switch {
		case status.Code(err) == codes.NotFound:
			return []doctor.Check{doctor.Bad("subscription", pushRepair(topic), "the subscription %s does not exist", name)}
		case err != nil:
			return []doctor.Check{cannotLook("subscription", "pubsub.subscriptions.get on "+name, err)}
		}
		return d.push(ctx, w, topic, s)
	})
}

func pushRepair(topic string) string {
	return "apply Terraform again, or give " + topic + " a push subscription to the function's address, with an OIDC token, 600 s to acknowledge and a back-off from 30 s"
}
