package statuspage

import (
	"cmp"
	"strconv"
)

func writePage(w *writer, v *view) {
	writeHead(w, v)
	w.raw("<body>\n" + `<a class="skip" href="#files">Skip to the files</a>` + "\n")
	writeHeader(w, v)
	w.raw("<main>\n" + `<p class="callout tone-warn" id="stale" role="status" hidden></p>` + "\n")
	writeSummary(w, v)
	writeCallouts(w, v.Callouts)
	w.raw(`<div class="cards">` + "\n")
	writeLive(w, v)
	writeRoute(w, v)
	w.raw("</div>\n")
	writeAttention(w, v)
	writeFiles(w, v)
	writeRuns(w, v)
	w.raw("</main>\n")
	writeFooter(w)
	writeData(w, v.Status)
	w.raw("<script>" + script + "</script>\n</body>\n</html>\n")
}

func writeHead(w *writer, v *view) {
	w.raw(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"`).attr("content", policy).raw(`>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex">
<title>`).text(v.Route).raw(": ").text(v.Badge.Label).raw(` – dagbucket</title>
<link rel="icon"`).attr("href", favicon(v.Badge.Tone)).raw(">\n<style>" + style + "</style>\n</head>\n")
}

func writeHeader(w *writer, v *view) {
	w.raw(`<header class="page">
<div>
<p class="product">dagbucket status</p>
<h1><bdi>`).text(v.Route).raw("</bdi>")
	if name := cmp.Or(v.Deployment.Name, v.Deployment.ID); name != "" {
		w.raw(` <span class="arrow" aria-hidden="true">→</span><span class="sr"> deploys to</span> <span class="deployment">`)
		w.link(v.Deployment.URL, name).raw("</span>")
	}
	w.raw(`</h1>
</div>
<p class="written">Written `).time(v.Written).raw("</p>\n</header>\n")
}

func writeSummary(w *writer, v *view) {
	w.raw("<section").attr("class", "hero tone-"+v.Badge.Tone).raw(` aria-label="State">` + "\n")
	w.raw(`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true">`).raw(v.Badge.Icon).raw("</svg>\n<div>\n")
	w.raw(`<p class="state">`).text(v.Badge.Label).raw("</p>\n")
	w.raw(`<p class="summary">`).prose(v.Summary).raw("</p>\n")
	if v.Next != "" {
		w.raw(`<p class="next"><b>Next:</b> `).prose(v.Next).raw("</p>\n")
	}
	w.raw("</div>\n</section>\n")
}

func writeCallouts(w *writer, callouts []callout) {
	if len(callouts) == 0 {
		return
	}
	w.raw(`<section class="callouts" aria-label="What stands in the way">` + "\n")
	for _, c := range callouts {
		w.raw("<div").attr("class", "callout tone-"+c.Tone).raw(">\n<h2>").text(c.Title)
		if !c.Since.IsZero() {
			w.raw(`<span class="when">since `).time(c.Since).raw("</span>")
		}
		w.raw("</h2>\n<p>").prose(c.Text)
		if c.Deploy != "" {
			w.raw(` <span class="nowrap">Deploy `).link(c.URL, c.Deploy).raw(".</span>")
		}
		w.raw("</p>\n</div>\n")
	}
	w.raw("</section>\n")
}

func writeLive(w *writer, v *view) {
	w.raw(`<section class="card" aria-labelledby="live-title">
<h2 id="live-title">What is live</h2>
`)
	if v.Live == nil {
		w.raw(`<p class="lead">Nothing yet</p>
<p class="muted">Nothing has been deployed from here.</p>
</section>
`)
		return
	}
	d := v.Live
	w.raw(`<p class="lead">`).text(plural(d.Files, "file", "files")).raw(", ").text(size(d.Bytes)).raw("</p>\n<dl>\n")
	w.raw("<div><dt>Since</dt><dd>").time(d.At).raw("</dd></div>\n")
	w.raw("<div><dt>Astro</dt><dd>")
	if d.LiveAt.IsZero() {
		w.raw("was not seen to run it yet")
	} else {
		w.raw("ran it ").text(took(d.At, d.LiveAt)).raw(" after it was deployed")
	}
	w.raw("</dd></div>\n")
	w.raw(`<div><dt>Deploy</dt><dd class="id">`).link(d.URL, d.DeployID).raw("</dd></div>\n")
	w.raw(`<div><dt>Run</dt><dd class="id"><bdi>`).text(d.Run).raw("</bdi></dd></div>\n")
	if d.RolledBack != "" {
		w.raw(`<div><dt>Rolled back</dt><dd>to the contents of run <bdi class="id">`).text(d.RolledBack).raw("</bdi></dd></div>\n")
	}
	if d.Digest != "" {
		w.raw(`<div><dt>Digest</dt><dd class="id"><bdi>`).text(short(d.Digest)).raw("</bdi></dd></div>\n")
	}
	w.raw("</dl>\n</section>\n")
}

func writeRoute(w *writer, v *view) {
	w.raw(`<section class="card" aria-labelledby="from-title">
<h2 id="from-title">Where it comes from, and goes to</h2>
<dl>
`)
	for _, s := range v.Sources {
		w.raw(`<div><dt>Source</dt><dd class="id"><bdi>`).text(s.URL).raw("</bdi>")
		if s.Mount != "" {
			w.raw(` <span class="muted">below</span> <bdi>`).text(s.Mount).raw("/</bdi>")
		}
		w.raw("</dd></div>\n")
	}
	if !v.Checked.IsZero() {
		w.raw("<div><dt>Last checked</dt><dd>").time(v.Checked).raw("</dd></div>\n")
	}
	d := v.Deployment
	if d.ID != "" {
		w.raw(`<div><dt>Deployment</dt><dd class="id">`).link(d.URL, d.ID).raw("</dd></div>\n")
	}
	if d.DesiredVersion != "" {
		w.raw(`<div><dt>Its version</dt><dd><bdi class="id">`).text(d.DesiredVersion).raw(`</bdi> <span class="muted">`)
		if d.InSync {
			w.raw("as deployed from here")
		} else {
			w.raw("not what was deployed last from here")
		}
		w.raw("</span></dd></div>\n")
	}
	w.raw("</dl>\n</section>\n")
}

func writeAttention(w *writer, v *view) {
	if len(v.Attention) == 0 {
		return
	}
	w.raw(`<section aria-labelledby="attention-title">
<h2 id="attention-title">Needs attention <span class="tally">`).text(number(v.AttentionTotal)).raw(`</span></h2>
<ul class="attention">
`)
	for _, a := range v.Attention {
		writeAttentionOf(w, a)
	}
	w.raw("</ul>\n")
	if v.AttentionMore > 0 {
		w.raw(`<p class="muted">`).text(number(v.AttentionMore)).raw(" more are in the list of files below.</p>\n")
	}
	w.raw("</section>\n")
}

func writeAttentionOf(w *writer, a attention) {
	w.raw("<li").attr("class", "tone-"+a.Tone).raw(">\n" + `<p class="what">`)
	writePill(w, a.Tone, a.Label)
	w.raw(` <bdi class="path">`).text(a.Path).raw("</bdi>")
	if a.Position != "" {
		w.raw(`<span class="position">`).text(a.Position).raw("</span>")
	}
	w.raw("</p>\n")
	if a.Why != "" {
		w.raw(`<p class="why">`).prose(a.Why).raw("</p>\n")
	}
	if a.Excerpt != "" {
		w.raw(`<pre class="excerpt">`).lines(a.Excerpt).raw("</pre>\n")
	}
	if a.ImportError != "" {
		w.raw(`<p class="why">Airflow cannot import it:</p><pre class="wraps">`).lines(a.ImportError).raw("</pre>\n")
	}
	w.raw(`<p class="muted">`).text(a.Fate)
	if !a.Since.IsZero() {
		w.raw(" since ").time(a.Since)
	}
	w.raw(".</p>\n</li>\n")
}

func writePill(w *writer, tone, label string) {
	w.raw("<span").attr("class", "pill tone-"+tone).raw(">").text(label).raw("</span>")
}

func writeFiles(w *writer, v *view) {
	w.raw(`<section id="files" tabindex="-1" aria-labelledby="files-title">
<h2 id="files-title">Files <span class="tally">`).text(number(v.Total)).raw("</span></h2>\n")
	if v.Total == 0 {
		w.raw(`<p class="muted">There are no files yet. `)
		if len(v.Sources) > 0 {
			w.raw(`Upload the first one to <bdi class="id">`).text(v.Sources[0].URL).raw("</bdi>.")
		}
		w.raw("</p>\n</section>\n")
		return
	}
	writeControls(w, v)
	w.raw(`<table role="table" aria-labelledby="files-title">
<thead role="rowgroup"><tr role="row">` +
		`<th scope="col" role="columnheader">File</th>` +
		`<th scope="col" role="columnheader">State</th>` +
		`<th scope="col" role="columnheader">Live since</th>` +
		`<th scope="col" role="columnheader">By deploy</th>` +
		`<th scope="col" role="columnheader" class="num">Size</th></tr></thead>
<tbody role="rowgroup" id="rows">
`)
	for _, r := range v.First {
		writeRow(w, r)
	}
	w.raw(`</tbody>
</table>
<button type="button" class="more" id="more" hidden>Show more</button>
<template id="row">`)
	writeRow(w, row{}) // page.js fills copies of it
	w.raw("</template>\n</section>\n")
}

// writeControls writes what narrows the list of files, and how much of it there is.
func writeControls(w *writer, v *view) {
	w.raw(`<search class="controls" id="controls" aria-label="Files" hidden>
<label for="search">Search by name or reason</label>
<input id="search" type="search" autocomplete="off" autocapitalize="off" spellcheck="false" aria-describedby="count" aria-controls="rows">
<div class="filters" id="filters" role="group" aria-label="Show files by state">
`)
	for _, f := range v.Filters {
		w.raw(`<button type="button"`).attr("data-filter", f.Key).attr("aria-pressed", strconv.FormatBool(f.Key == "all"))
		w.raw("><span>").text(f.Label).raw(`</span> <span class="n">`).text(number(f.Count)).raw("</span></button>\n")
	}
	w.raw("</div>\n</search>\n" + `<p class="muted" id="count" role="status">Showing `)
	if len(v.First) == v.Total {
		w.text(plural(v.Total, "file", "files")).raw(".</p>\n")
		return
	}
	w.raw("the first ").text(number(len(v.First))).raw(" of ").text(number(v.Total)).raw(` files.</p>
<noscript><p class="callout tone-quiet">With JavaScript switched on, all files can be shown and searched here. The file status.json beside this page lists them, too.</p></noscript>
`)
}

// writeRow writes what page.js's render makes, too.
func writeRow(w *writer, r row) {
	w.raw(`<tr role="row"><th scope="row" role="rowheader"><bdi class="path">`).text(r.Path).raw("</bdi>")
	for _, line := range r.Lines {
		w.raw(`<p class="sub"><bdi>`).lines(line).raw("</bdi></p>")
	}
	if len(r.Blocks) > 0 {
		w.raw("<details><summary>Details</summary>")
		for _, block := range r.Blocks {
			w.raw(`<pre class="wraps">`).lines(block).raw("</pre>")
		}
		w.raw("</details>")
	}
	w.raw("</th>\n" + `<td role="cell" data-label="State">`)
	writePill(w, r.Tone, r.Label)
	w.raw("</td>\n" + `<td role="cell" data-label="Live since">`)
	if r.Since.IsZero() {
		w.raw(`<span class="none">–</span>`)
	} else {
		w.time(r.Since)
	}
	w.raw("</td>\n" + `<td role="cell" data-label="By deploy"><bdi class="id">`).text(r.Deploy).raw("</bdi></td>\n")
	w.raw(`<td role="cell" data-label="Size" class="num">`).text(r.Size).raw("</td></tr>\n")
}

func writeRuns(w *writer, v *view) {
	w.raw(`<section id="runs" aria-labelledby="runs-title">
<h2 id="runs-title">Runs</h2>
`)
	if len(v.Runs) == 0 {
		w.raw(`<p class="muted">No run has ended yet.</p>` + "\n</section>\n")
		return
	}
	writeTimeline(w, v.Runs)
	w.raw("\n")
	if len(v.Earlier) > 0 {
		w.raw(`<details class="earlier"><summary>`).text(plural(len(v.Earlier), "earlier run", "earlier runs")).raw("</summary>")
		writeTimeline(w, v.Earlier)
		w.raw("</details>\n")
	}
	w.raw("</section>\n")
}

func writeTimeline(w *writer, runs []run) {
	w.raw(`<ol class="runs">`)
	for i := range runs {
		writeRun(w, &runs[i])
	}
	w.raw("</ol>")
}

func writeRun(w *writer, r *run) {
	w.raw("<li").attr("class", "tone-"+r.Tone).raw(">\n" + `<p class="head">`)
	writePill(w, r.Tone, r.Label)
	w.raw(" ").time(r.At)
	if r.Seconds != 0 {
		w.raw(` <span class="muted">took `).text(seconds(r.Seconds)).raw("</span>")
	}
	w.raw("</p>\n")
	writeChanges(w, r)
	if len(r.Bars) > 0 {
		writeSteps(w, r)
	}
	w.raw(`<p class="ids">`)
	const dot = ` <span aria-hidden="true">·</span> `
	if r.LiveAfter != 0 {
		w.raw("Astro ran it ").text(seconds(r.LiveAfter)).raw(" after it was deployed" + dot)
	}
	w.raw(`run <bdi class="id">`).text(r.Run.Run).raw("</bdi>")
	if r.DeployID != "" {
		w.raw(dot + `deploy <bdi class="id">`).text(r.DeployID).raw("</bdi>")
	}
	w.raw("</p>\n</li>\n")
}

// writeChanges writes what a run changed, why it did not, and what of it is still live.
func writeChanges(w *writer, r *run) {
	if len(r.Changes) > 0 {
		w.raw(`<p class="changes">`)
		for _, c := range r.Changes {
			w.raw("<span").attr("class", c.Class).raw(">").text(c.Text).raw("</span> ")
		}
		w.raw("</p>\n")
	}
	if r.Reason != "" {
		w.raw("<p>").prose(r.Reason).raw("</p>\n")
	}
	if len(r.Named) == 0 {
		return
	}
	w.raw(`<p class="named">Live from it: `)
	for i, name := range r.Named {
		if i > 0 {
			w.raw(", ")
		}
		w.raw(`<bdi class="path">`).text(name).raw("</bdi>")
	}
	if r.NamedMore > 0 {
		w.raw(" and ").text(number(r.NamedMore)).raw(" more")
	}
	w.raw("</p>\n")
}

// writeSteps writes how long the steps of a run took, as a bar and in words.
func writeSteps(w *writer, r *run) {
	w.raw(`<svg class="bar" viewBox="0 0 1000 8" preserveAspectRatio="none" aria-hidden="true">`)
	for _, b := range r.Bars {
		w.raw("<rect").attr("class", "step-"+b.Kind).attr("x", strconv.Itoa(b.X)).attr("width", strconv.Itoa(b.Width)).raw(` height="8"/>`)
	}
	w.raw("</svg>\n" + `<p class="steps">`)
	for _, s := range r.Steps {
		w.raw(`<span class="nowrap"><span`).attr("class", "dot step-"+s.Kind).raw("></span>").text(s.Name).raw(" ").text(seconds(s.Seconds)).raw("</span> ")
	}
	w.raw("</p>\n")
}

func writeFooter(w *writer) {
	w.raw(`<footer>
<p>This page is written anew when something changes, and at the latest every 15 minutes; reload it to see the newest. Times are UTC. The file status.json beside it says the same to programs.</p>
</footer>
`)
}

// The icons of the states.
const (
	iconCheck markup = `<path d="M4.5 12.5l5 5 10-11"/>`
	iconCross markup = `<path d="M6 6l12 12M18 6L6 18"/>`
	iconPause markup = `<path d="M8.5 5.5v13M15.5 5.5v13"/>`
	iconAlert markup = `<path d="M12 5v9M12 18.6v.2"/>`
	iconFork  markup = `<path d="M12 20v-7M12 13c0-4-6-3-6-8M12 13c0-4 6-3 6-8M3.500 7.500L6 5l2.500 2.500M15.500 7.500L18 5l2.500 2.500"/>`
	iconUp    markup = `<path d="M12 19V6M6 11.500L12 5.500l6 6"/>`
	iconClock markup = `<path d="M12 6v6.500l4.500 2.500"/><circle cx="12" cy="12" r="9"/>`
)
