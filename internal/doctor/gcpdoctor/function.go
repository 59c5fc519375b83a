package gcpdoctor

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"cloud.google.com/go/functions/apiv2/functionspb"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/iterator"

	"github.com/dagbucket/dagbucket/internal/doctor"
)

const (
	longestDeadline = 600 * time.Second // Pub/Sub's
	leastBackoff    = 30 * time.Second  // with less, an event whose instance died may be given up before another can take over
)

// push checks a subscription, and the function that it calls.
func (d *Doctor) push(ctx context.Context, w doctor.Want, topic string, s *pubsubpb.Subscription) []doctor.Check {
	endpoint := s.GetPushConfig().GetPushEndpoint()
	label := last(s.Name)
	update := "gcloud pubsub subscriptions update " + label + " --project=" + projectOf(s.Name)
	switch {
	case endpoint == "":
		return []doctor.Check{doctor.Bad("subscription", pushRepair(topic), "%s pushes to no function", label)}
	case s.Detached:
		return []doctor.Check{doctor.Bad("subscription", pushRepair(topic), "%s is detached from its topic: every event is lost", label)}
	}
	f, err := d.functionAt(ctx, projectOf(s.Name), endpoint)
	timeout := time.Duration(f.GetServiceConfig().GetTimeoutSeconds()) * time.Second
	checks := deadlines(label, update, topic, s, timeout)
	if len(checks) == 0 {
		checks = append(checks, doctor.Good("subscription", "%s pushes to %s", label, host(endpoint)))
	}
	switch {
	case err != nil:
		return append(checks, cannotLook("function", "cloudfunctions.functions.list in "+projectOf(s.Name), err))
	case f == nil:
		return append(checks, doctor.Bad("function", update+" --push-endpoint=ADDRESS, with the address of the function (gcloud functions describe)",
			"%s pushes to %s, where the project %s has no function", label, host(endpoint), projectOf(s.Name)))
	}
	return append(checks, checkFunction(w, f, timeout)...)
}

// deadlines tells of what lets events come again too soon, or never.
func deadlines(label, update, topic string, s *pubsubpb.Subscription, timeout time.Duration) []doctor.Check {
	var checks []doctor.Check
	warn := func(repair, format string, args ...any) {
		checks = append(checks, doctor.Warn("subscription", repair, format, args...))
	}
	if s.Filter != "" {
		warn("make the subscription again without a filter: one cannot be changed", "%s has a filter (%s): what it keeps back waits for the schedule", label, doctor.Line(s.Filter))
	}
	if wait, least := time.Duration(s.AckDeadlineSeconds)*time.Second, min(timeout, longestDeadline); wait < least {
		warn(fmt.Sprintf("%s --ack-deadline=%d", update, int(longestDeadline.Seconds())),
			"%s waits %s for an answer, and the function may work for %s: events come again meanwhile", label, wait, timeout)
	}
	if least := s.GetRetryPolicy().GetMinimumBackoff().AsDuration(); s.RetryPolicy == nil || least < leastBackoff {
		warn(update+" --min-retry-delay=30s --max-retry-delay=600s",
			"%s brings a failed event again after %s: one whose instance died may become a dead letter before another instance can take over", label, least)
	}
	if s.GetPushConfig().GetOidcToken() == nil {
		warn(update+" --push-auth-service-account=ACCOUNT, which needs roles/run.invoker on the function",
			"%s pushes without a token: a function that is not public refuses every event", label)
	}
	// Eventarc makes its subscriptions without.
	if s.DeadLetterPolicy == nil && !strings.HasPrefix(last(topic), "eventarc-") {
		warn(update+" --dead-letter-topic=TOPIC --max-delivery-attempts=10", "%s has no dead-letter topic: what cannot be understood comes again for days", label)
	}
	return checks
}

// functionList is every function of a project, or why they cannot be listed.
type functionList struct {
	all []*functionspb.Function
	err error
}

// functionAt returns the function at an address, or nil.
func (d *Doctor) functionAt(ctx context.Context, project, endpoint string) (*functionspb.Function, error) {
	list, known := d.known[project]
	if !known {
		list = d.list(ctx, project)
		d.known[project] = list
	}
	for _, f := range list.all {
		if at := host(endpoint); at == host(f.GetServiceConfig().GetUri()) || at == host(f.Url) && sameFolder(endpoint, f.Url) {
			return f, nil
		}
	}
	return nil, list.err
}

func (d *Doctor) list(ctx context.Context, project string) functionList {
	found := d.functions.ListFunctions(ctx, &functionspb.ListFunctionsRequest{Parent: "projects/" + project + "/locations/-"})
	var list functionList
	for {
		f, err := found.Next()
		if err == iterator.Done {
			return list
		}
		if err != nil {
			list.err = err
			return list
		}
		list.all = append(list.all, f)
	}
}

// checkFunction checks the function at the end of the way.
func checkFunction(w doctor.Want, f *functionspb.Function, timeout time.Duration) []doctor.Check {
	const name = "function"
	label := last(f.Name)
	if f.State != functionspb.Function_ACTIVE {
		says := ""
		for _, m := range f.StateMessages {
			says += "; " + doctor.Line(m.Message)
		}
		return []doctor.Check{doctor.Bad(name, "repair what it says, and deploy the function again (gcloud functions describe "+label+" shows more)",
			"%s is not active, but %s%s", label, f.State, says)}
	}
	env := f.GetServiceConfig().GetEnvironmentVariables()
	checks := append(w.CheckSettings(label, env), w.CheckTimeout(label, timeout)...)
	if told, want := env["CLOUD_RUN_TIMEOUT_SECONDS"], fmt.Sprint(int(timeout.Seconds())); told != want {
		checks = append(checks, doctor.Warn(name, "set its variable CLOUD_RUN_TIMEOUT_SECONDS to "+want,
			"%s does not know its time-out: CLOUD_RUN_TIMEOUT_SECONDS is %s, and it has %s s", label, cmp.Or(told, "(not set)"), want))
	}
	if len(checks) == 0 {
		checks = append(checks, doctor.Good(name, "%s is active; its time-out is %s", label, timeout))
	}
	return checks
}

// host is the host of an address: a service has a path of its own for nobody.
func host(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "(not an address)"
	}
	return u.Host
}

// sameFolder tells apart the functions of one region, which share the host cloudfunctions.net.
func sameFolder(a, b string) bool {
	u, err1 := url.Parse(a)
	v, err2 := url.Parse(b)
	return err1 == nil && err2 == nil && strings.Trim(u.Path, "/") == strings.Trim(v.Path, "/")
}

// projectOf is the project of a name such as projects/P/topics/T.
func projectOf(name string) string {
	_, rest, _ := strings.Cut(name, "/")
	project, _, _ := strings.Cut(rest, "/")
	return project
}

// last is the last part of such a name.
func last(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }
