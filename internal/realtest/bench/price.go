package main

import (
	"context"
	"fmt"
	"math"
)

// rates are one cloud's prices in US dollars, without free tiers.
type rates struct {
	write      float64 // of a PUT or LIST (S3), or a Class A operation (Google); removals are free
	read       float64 // of a GET, or a Class B operation
	invocation float64
	second     float64 // of the function as the Terraform modules set it up
	queue      float64 // of a request to the queue
	batch      int64   // events that come with one invocation
	step       float64 // seconds; each invocation is rounded up to the next
}

// The prices of us-east-1 and of us-central1, a Tier 1 region, as of November 2026.
var prices = map[string]rates{
	"aws": {
		write:      0.005 / 1000,       // https://aws.amazon.com/s3/pricing/, S3 Standard; the same in https://c3x.dev/blog/s3-request-fees-explained
		read:       0.0004 / 1000,      // as above
		invocation: 0.20 / 1e6,         // https://docs.aws.amazon.com/whitepapers/latest/how-aws-pricing-works/lambda.html
		second:     0.5 * 0.0000166667, // 512 MB on x86: https://aws.amazon.com/lambda/pricing/
		queue:      0.40 / 1e6,         // https://aws.amazon.com/sqs/pricing/, standard queue; the same in https://cloudburn.io/blog/amazon-sqs-pricing (March 2026)
		batch:      1000,               // batch_size of infra/aws
		step:       0.001,
	},
	"gcp": {
		write:      0.005 / 1000,             // https://cloud.google.com/storage/pricing-examples, Standard in one region
		read:       0.0004 / 1000,            // as above
		invocation: 0.40 / 1e6,               // https://cloud.google.com/run/pricing
		second:     0.000024 + 0.5*0.0000025, // 1 vCPU and 512 MiB, billed by request: as above
		batch:      1,                        // Eventarc sends each event by itself
		step:       0.1,
	},
}

const longestWait = 70 // seconds, with the defaults: the quiet period, and then at most a minute for Astro to take the deploy up

const priceNotes = "US dollars in us-east-1 and us-central1, without free tiers; the rates and their sources are in [price.go](../price.go). Time is that " +
	"of an invocation at +20 ms, requests are as counted. AWS: writes and lists $0.005 and reads $0.0004 per 1,000; $0.20 per million invocations; " +
	"$0.0000166667 per GB-second, 512 MB; $0.40 per million requests to the queue (one to send each event, a receive and a removal for each 10). " +
	"Google: the same for operations of Class A and B; $0.40 per million invocations; $0.000024 per vCPU-second (1) and $0.0000025 per GiB-second " +
	"(0.5). Events of one upload share a deploy of dagbucket; the invocations for the others of them end early, and their few requests are not " +
	"counted, nor is a queue's being polled while it is empty, nor Eventarc's traffic. `with waits` adds the longest time that an invocation waits: " +
	"10 s of quiet period and 1 minute for Astro to take the deploy up. The documentation template deploys once for each file, and reads everything " +
	"each time, as if all files were there before its first run; its time at 10,000 files is ten times the one measured at 1,000, and on Google it is AWS's."

// deployPrice is what something costs, with what that is computed from. All numbers are of the whole, not of one deploy.
type deployPrice struct {
	Cloud         string  `json:"cloud"`
	What          string  `json:"what"`
	Deploys       int64   `json:"deploys"`
	List          int64   `json:"list"`
	Get           int64   `json:"get"`
	Put           int64   `json:"put"`
	Delete        int64   `json:"delete"`
	Astro         int64   `json:"astro"` // free; 0: not counted
	Invocations   int64   `json:"invocations"`
	QueueRequests int64   `json:"queueRequests"`
	Seconds       float64 `json:"seconds"` // billed
	Storage       float64 `json:"storage"` // dollars, and so below
	Compute       float64 `json:"compute"`
	Queue         float64 `json:"queue"`
	Total         float64 `json:"total"`
	WithWaits     float64 `json:"withWaits"`
}

var priceHeader = []string{"cloud", "what", "deploys", "list", "get", "put", "delete", "Astro", "invocations", "queue requests", "time billed",
	"storage", "compute", "queue", "total", "with waits"}

func (d deployPrice) cells() []string {
	cells := []string{d.Cloud, d.What}
	for _, n := range []int64{d.Deploys, d.List, d.Get, d.Put, d.Delete, d.Astro, d.Invocations, d.QueueRequests} {
		cells = append(cells, thousands(n))
	}
	cells = append(cells, fmt.Sprintf("%.1f s", d.Seconds))
	for _, dollars := range []float64{d.Storage, d.Compute, d.Queue, d.Total, d.WithWaits} {
		cells = append(cells, fmt.Sprintf("$%.6f", dollars))
	}
	return cells
}

// priceOf completes the dollars. waits is how long the invocations wait at most.
func (r rates) priceOf(d deployPrice, waits float64) deployPrice {
	d.Storage = float64(d.List+d.Put)*r.write + float64(d.Get)*r.read
	d.Compute = float64(d.Invocations)*r.invocation + d.Seconds*r.second
	d.Queue = float64(d.QueueRequests) * r.queue
	d.Total = d.Storage + d.Compute + d.Queue
	d.WithWaits = d.Total + waits*r.second
	return d
}

// ofRun is the price of one run of dagbucket that events woke.
func (r rates) ofRun(cloud, what string, events int64, seconds float64, requests map[string]int64, deploys int64) deployPrice {
	d := deployPrice{Cloud: cloud, What: "dagbucket: " + what, Deploys: deploys, List: requests["list"], Get: requests["get"], Put: requests["put"],
		Delete: requests["delete"], Astro: requests["astro"], Invocations: (events + r.batch - 1) / r.batch, Seconds: r.billed(seconds)}
	if r.queue > 0 {
		d.QueueRequests = events + 2*((events+9)/10)
	}
	return r.priceOf(d, float64(deploys*longestWait))
}

// ofTemplate is the price of what the documentation's function does for changed of files: it takes seconds each time.
func (r rates) ofTemplate(cloud, what string, files, changed int64, seconds float64) deployPrice {
	return r.priceOf(deployPrice{Cloud: cloud, What: "template: " + what, Deploys: changed, List: changed * pages(int(files)), Get: changed * files,
		Invocations: changed, Seconds: float64(changed) * r.billed(seconds)}, 0)
}

// billed rounds up; the tolerance is for what binary fractions add.
func (r rates) billed(seconds float64) float64 { return math.Ceil(seconds/r.step-1e-9) * r.step }

// price prices what was measured from afar.
func (b *bench) price(ctx context.Context, rounds int) error {
	rate := prices[b.name]
	type source struct {
		scenario
		all series
	}
	var sources []source
	for _, s := range []scenario{small, medium} {
		all, err := b.need(ctx, point{s, distant}, rounds)
		if err != nil {
			return err
		}
		sources = append(sources, source{s, all})
	}
	b.report.startPrices(b.name)
	for _, s := range sources {
		files := thousands(int64(s.files))
		for _, run := range []struct {
			variant, what string
			events        int64
			deploys       int64
		}{
			{firstSync, "first sync of " + files, int64(s.files), 1},
			{changedSync, "one changed of " + files, 1, 1},
			{noChange, "reconcile of " + files + " without changes", 1, 0},
		} {
			v := s.all[run.variant]
			b.report.addPrice(rate.ofRun(b.name, run.what, run.events, median(v.seconds), v.requests, run.deploys))
		}
	}
	one := b.report.templateSeconds()
	if one == 0 {
		fmt.Fprintln(b.report.out, "  (the template was not measured: see -cloud)")
		return nil
	}
	for _, s := range sources {
		files, seconds := int64(s.files), one*float64(s.files)/float64(small.files)
		b.report.addPrice(rate.ofTemplate(b.name, "first sync of "+thousands(files), files, files, seconds))
		b.report.addPrice(rate.ofTemplate(b.name, "one changed of "+thousands(files), files, 1, seconds))
	}
	return nil
}

// templateSeconds is what the template takes for the small scenario from afar; 0 if that was not measured.
func (r *report) templateSeconds() float64 {
	for _, one := range r.rows {
		if one.Measured == template && one.Source == small.name && one.Network == distant {
			return one.Seconds
		}
	}
	return 0
}

func (r *report) startPrices(cloud string) {
	fmt.Fprintf(r.out, "\nprices, %s (lists, reads and writes; invocations; requests to the queue; time billed)\n", cloud)
}

func (r *report) addPrice(d deployPrice) {
	r.prices = append(r.prices, d)
	fmt.Fprintf(r.out, "  %s %12s list %13s get %6s put %6s inv. %6s queue %13.1f s  = $%.6f, $%.6f with waits\n", pad(d.What, -44), thousands(d.List),
		thousands(d.Get), thousands(d.Put), thousands(d.Invocations), thousands(d.QueueRequests), d.Seconds, d.Total, d.WithWaits)
}
