# The program logs one line for each run, with message "run", and with route, outcome and seconds.

locals {
  log_filter = join(" AND ", [
    "resource.type=\"cloud_run_revision\"",
    "resource.labels.service_name=\"${var.name}\"",
    "resource.labels.location=\"${var.region}\"",
  ])
  run_filter = "${local.log_filter} AND jsonPayload.message=\"run\" AND jsonPayload.outcome:*"

  # PromQL's name for logging.googleapis.com/user/<name>/runs.
  runs_promql = "logging_googleapis_com:user_${replace("${var.name}/runs", "/[^a-z0-9]/", "_")}"
  all_runs    = "${local.runs_promql}{monitored_resource=\"cloud_run_revision\",route!=\"\"}"
  good_runs   = "${local.runs_promql}{monitored_resource=\"cloud_run_revision\",route!=\"\",outcome=~\"deployed|unchanged\"}"
  failed_runs = "${local.runs_promql}{monitored_resource=\"cloud_run_revision\",outcome=\"failed\"}"

  # Eventarc names its subscriptions itself, after the trigger. A list of them would not fit into a filter where there are many buckets.
  subscription_filter = local.pubsub ? "= \"${var.name}-events\"" : "= monitoring.regex.full_match(\"eventarc-.*-${var.name}-[0-9a-f]{8}-(archived|deleted|finalized)-.*\")"

  # Those that take time; the log has the others as well.
  steps = {
    list   = "list the sources"
    wait   = "wait until the sources are quiet"
    pack   = "fetch, check and pack files"
    upload = "upload the bundle"
  }

  channels = concat(var.notification_channels, [for channel in google_monitoring_notification_channel.email : channel.id])

  # A threshold on a metric that Google keeps.
  thresholds = {
    for key, t in {
      dead-letters = {
        title     = "events that nobody could handle"
        repair    = "Read them (output dead_letters_command) and the function's log. What they tell of is deployed anyway, since the schedule looks at the whole bucket."
        filter    = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"${var.name}-dead-letters\" AND metric.type = \"pubsub.googleapis.com/subscription/num_undelivered_messages\""
        aligner   = "ALIGN_MAX"
        period    = "300s"
        threshold = 0
      }
      old-events = {
        title     = "events wait for more than an hour"
        repair    = "See the function's log: it fails, is at its number of instances, or cannot be called."
        filter    = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id ${local.subscription_filter} AND metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\""
        aligner   = "ALIGN_MAX"
        period    = "300s"
        threshold = 3600
      }
      errors = {
        title     = "the function answers with errors or breaks down"
        repair    = "See the function's log. A few are normal: with them the function asks for an event to come again."
        filter    = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"${var.name}\" AND resource.labels.location = \"${var.region}\" AND metric.type = \"run.googleapis.com/request_count\" AND metric.labels.response_code_class = \"5xx\""
        aligner   = "ALIGN_DELTA"
        period    = "3600s"
        threshold = 10
      }
    } : key => t if var.alarms && (local.pubsub || key != "dead-letters")
  }

  # A condition on what the log tells. PromQL, since it can be made before the metric's first value: a filter would be refused at the first apply.
  queries = {
    for key, q in {
      failed-runs = {
        title    = "two runs of a route failed within an hour"
        repair   = "The log line \"run\" and the route's status tell the reason and the repair."
        query    = "sum by (route) (increase(${local.failed_runs}[1h])) > 1"
        duration = "0s"
      }
      no-success = {
        title  = "no successful run for a day"
        repair = "The route is held, paused or failing, or the schedule does not reach the function: see the route's status, then the function's log."
        # First part: routes that ran without success. Second: nothing ran at all. 18 hours back, for 6 hours: so a new set-up has time for its first run.
        query    = "(sum by (route) (increase(${local.all_runs}[18h])) > 0 unless sum by (route) (increase(${local.good_runs}[18h])) > 0) or absent_over_time(${local.good_runs}[18h])"
        duration = "21600s"
      }
    } : key => q if var.alarms
  }
}

resource "google_logging_metric" "runs" {
  project     = var.project
  name        = "${var.name}/runs"
  description = "Runs of ${var.name}, by route and outcome."
  filter      = local.run_filter

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"

    labels {
      key         = "outcome"
      value_type  = "STRING"
      description = "How the run ended."
    }

    labels {
      key         = "route"
      value_type  = "STRING"
      description = "Name of the route."
    }
  }

  label_extractors = {
    outcome = "EXTRACT(jsonPayload.outcome)"
    route   = "EXTRACT(jsonPayload.route)"
  }

  depends_on = [google_project_service.this]
}

resource "google_logging_metric" "seconds" {
  project         = var.project
  name            = "${var.name}/seconds"
  description     = "Seconds that runs of ${var.name} took, by route."
  filter          = local.run_filter
  value_extractor = "EXTRACT(jsonPayload.seconds)"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = "s"

    labels {
      key         = "route"
      value_type  = "STRING"
      description = "Name of the route."
    }
  }

  label_extractors = {
    route = "EXTRACT(jsonPayload.route)"
  }

  # 0.1 s to about 15 minutes.
  bucket_options {
    exponential_buckets {
      num_finite_buckets = 14
      growth_factor      = 2
      scale              = 0.1
    }
  }

  depends_on = [google_project_service.this]
}

# The line has a field for each step that ran.
resource "google_logging_metric" "step" {
  for_each = local.steps

  project         = var.project
  name            = "${var.name}/seconds-${each.key}"
  description     = "Seconds that runs of ${var.name} took to ${each.value}, by route."
  filter          = "${local.run_filter} AND jsonPayload.seconds${title(each.key)}:*"
  value_extractor = "EXTRACT(jsonPayload.seconds${title(each.key)})"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = "s"

    labels {
      key         = "route"
      value_type  = "STRING"
      description = "Name of the route."
    }
  }

  label_extractors = {
    route = "EXTRACT(jsonPayload.route)"
  }

  # 0.01 s to about 15 minutes.
  bucket_options {
    exponential_buckets {
      num_finite_buckets = 17
      growth_factor      = 2
      scale              = 0.01
    }
  }

  depends_on = [google_project_service.this]
}

# Log-based metrics count or spread, and none holds a last value: the highest percentile of a few minutes' runs is one.
resource "google_logging_metric" "not_live_age" {
  project         = var.project
  name            = "${var.name}/not-live-age"
  description     = "Seconds since the newest change in the sources of a route that is not live; 0 if all is live."
  filter          = "${local.run_filter} AND jsonPayload.notLiveAge:* AND NOT jsonPayload.outcome=(\"covered\" OR \"busy\")"
  value_extractor = "EXTRACT(jsonPayload.notLiveAge)"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = "s"

    labels {
      key         = "route"
      value_type  = "STRING"
      description = "Name of the route."
    }
  }

  label_extractors = {
    route = "EXTRACT(jsonPayload.route)"
  }

  # 1 s to about 12 days.
  bucket_options {
    exponential_buckets {
      num_finite_buckets = 20
      growth_factor      = 2
      scale              = 1
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_monitoring_notification_channel" "email" {
  for_each = toset(var.alarms ? var.alarm_emails : [])

  project      = var.project
  display_name = "${var.name}: ${each.key}"
  type         = "email"
  user_labels  = var.labels

  labels = {
    email_address = each.key
  }

  depends_on = [google_project_service.this]
}

resource "google_monitoring_alert_policy" "threshold" {
  for_each = local.thresholds

  project               = var.project
  display_name          = "${var.name}: ${each.value.title}"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels
  user_labels           = var.labels

  conditions {
    display_name = each.value.title

    condition_threshold {
      filter          = each.value.filter
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.threshold
      duration        = "0s"

      aggregations {
        alignment_period     = each.value.period
        per_series_aligner   = each.value.aligner
        cross_series_reducer = each.value.aligner == "ALIGN_MAX" ? "REDUCE_MAX" : "REDUCE_SUM"
      }
    }
  }

  documentation {
    content   = each.value.repair
    mime_type = "text/markdown"
  }

  depends_on = [google_project_service.this]
}

resource "google_monitoring_alert_policy" "query" {
  for_each = local.queries

  project               = var.project
  display_name          = "${var.name}: ${each.value.title}"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels
  user_labels           = var.labels

  conditions {
    display_name = each.value.title

    condition_prometheus_query_language {
      query                     = each.value.query
      duration                  = each.value.duration
      evaluation_interval       = "300s"
      disable_metric_validation = true
    }
  }

  documentation {
    content   = each.value.repair
    mime_type = "text/markdown"
  }

  depends_on = [google_logging_metric.runs]
}

resource "google_monitoring_dashboard" "this" {
  count = var.dashboard ? 1 : 0

  project = var.project
  dashboard_json = jsonencode({
    displayName = var.name
    mosaicLayout = {
      columns = 48
      tiles = [
        for i, chart in local.charts : merge({
          width  = 24
          height = 16
          widget = {
            title = chart.title
            xyChart = {
              dataSets = [for filter in chart.filters : {
                plotType   = "LINE"
                targetAxis = "Y1"
                timeSeriesQuery = {
                  timeSeriesFilter = {
                    filter = filter
                    aggregation = merge({
                      alignmentPeriod    = "300s"
                      perSeriesAligner   = chart.aligner
                      crossSeriesReducer = chart.reducer
                    }, length(chart.by) == 0 ? {} : { groupByFields = chart.by })
                  }
                }
              }]
            }
          }
          # Google leaves a 0 out of what it gives back, which would be a change at every plan.
        }, { for k, v in { xPos = i % 2 * 24, yPos = floor(i / 2) * 16 } : k => v if v != 0 })
      ]
    }
  })

  depends_on = [google_logging_metric.runs, google_logging_metric.seconds, google_logging_metric.step, google_logging_metric.not_live_age]
}

locals {
  charts = concat([
    {
      title   = "Runs by outcome"
      filters = ["metric.type=\"logging.googleapis.com/user/${var.name}/runs\" resource.type=\"cloud_run_revision\""]
      aligner = "ALIGN_DELTA"
      reducer = "REDUCE_SUM"
      by      = ["metric.label.\"outcome\""]
    },
    {
      title   = "Seconds of the slowest runs by route"
      filters = ["metric.type=\"logging.googleapis.com/user/${var.name}/seconds\" resource.type=\"cloud_run_revision\""]
      aligner = "ALIGN_PERCENTILE_99"
      reducer = "REDUCE_MAX"
      by      = ["metric.label.\"route\""]
    },
    {
      title   = "Seconds of the slowest steps: ${join(", ", keys(local.steps))}"
      filters = [for step in keys(local.steps) : "metric.type=\"logging.googleapis.com/user/${var.name}/seconds-${step}\" resource.type=\"cloud_run_revision\""]
      aligner = "ALIGN_PERCENTILE_99"
      reducer = "REDUCE_MAX"
      by      = []
    },
    {
      title   = "Age of the newest change that is not live, in seconds by route"
      filters = ["metric.type=\"logging.googleapis.com/user/${var.name}/not-live-age\" resource.type=\"cloud_run_revision\""]
      aligner = "ALIGN_PERCENTILE_99"
      reducer = "REDUCE_MAX"
      by      = ["metric.label.\"route\""]
    },
    {
      title   = "Age of the oldest waiting event, in seconds"
      filters = ["metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" resource.type=\"pubsub_subscription\" resource.label.\"subscription_id\" ${local.subscription_filter}"]
      aligner = "ALIGN_MAX"
      reducer = "REDUCE_MAX"
      by      = []
    },
    ], local.pubsub ? [{
      title   = "Dead letters"
      filters = ["metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" resource.type=\"pubsub_subscription\" resource.label.\"subscription_id\"=\"${var.name}-dead-letters\""]
      aligner = "ALIGN_MAX"
      reducer = "REDUCE_MAX"
      by      = []
  }] : [])
}

# A copy in a log bucket of its own, where another time is asked for than the project's. A deleted one keeps its name for 7 days, so it is no short one.

resource "google_logging_project_bucket_config" "this" {
  count = var.log_retention_days == null ? 0 : 1

  project        = var.project
  location       = var.region
  bucket_id      = "${var.name}-function-log"
  description    = "Log of the function ${var.name}."
  retention_days = var.log_retention_days

  depends_on = [google_project_service.this]
}

resource "google_logging_project_sink" "this" {
  count = var.log_retention_days == null ? 0 : 1

  project                = var.project
  name                   = var.name
  description            = "Log of the function ${var.name}."
  destination            = "logging.googleapis.com/${google_logging_project_bucket_config.this[0].id}"
  filter                 = local.log_filter
  unique_writer_identity = true
}
