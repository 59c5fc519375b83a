mock_provider "google" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  project  = "acme-data"
  region   = "europe-west1"
  zip_file = "tests/function.zip"
  routes = [{
    name       = "prod"
    deployment = "clmh57jtm000008lb58fe2wmv"
    sources    = [{ url = "gs://acme-dags/dags/" }]
  }]
}

run "metrics" {
  command = plan

  assert {
    condition = (
      google_logging_metric.runs.name == "dagbucket/runs" &&
      google_logging_metric.runs.filter == "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"dagbucket\" AND resource.labels.location=\"europe-west1\" AND jsonPayload.message=\"run\" AND jsonPayload.outcome:*" &&
      google_logging_metric.runs.label_extractors == tomap({ outcome = "EXTRACT(jsonPayload.outcome)", route = "EXTRACT(jsonPayload.route)" })
    )
    error_message = "Runs are counted from the program's summary lines."
  }

  assert {
    condition     = google_logging_metric.seconds.value_extractor == "EXTRACT(jsonPayload.seconds)" && google_logging_metric.seconds.metric_descriptor[0].value_type == "DISTRIBUTION"
    error_message = "Their seconds are a distribution."
  }

  assert {
    condition = (
      { for step, m in google_logging_metric.step : m.name => m.value_extractor } == {
        "dagbucket/seconds-list"   = "EXTRACT(jsonPayload.secondsList)"
        "dagbucket/seconds-pack"   = "EXTRACT(jsonPayload.secondsPack)"
        "dagbucket/seconds-upload" = "EXTRACT(jsonPayload.secondsUpload)"
        "dagbucket/seconds-wait"   = "EXTRACT(jsonPayload.secondsWait)"
      } && alltrue([for step, m in google_logging_metric.step : endswith(m.filter, "AND jsonPayload.seconds${title(step)}:*") && m.metric_descriptor[0].value_type == "DISTRIBUTION"])
    )
    error_message = "The seconds of a step are those of the runs in which it ran."
  }

  assert {
    condition = (
      google_logging_metric.not_live_age.value_extractor == "EXTRACT(jsonPayload.notLiveAge)" &&
      endswith(google_logging_metric.not_live_age.filter, "AND jsonPayload.notLiveAge:* AND NOT jsonPayload.outcome=(\"covered\" OR \"busy\")")
    )
    error_message = "A run that did not look knows no age."
  }
}

run "alarms" {
  command = plan

  variables {
    alarm_emails          = ["data@example.com", "data@example.com"]
    notification_channels = ["projects/acme-data/notificationChannels/7"]
  }

  assert {
    condition     = tolist(keys(google_monitoring_alert_policy.threshold)) == tolist(["dead-letters", "errors", "old-events"]) && tolist(keys(google_monitoring_alert_policy.query)) == tolist(["failed-runs", "no-success"])
    error_message = "Five things are watched."
  }

  assert {
    condition = (
      strcontains(google_monitoring_alert_policy.threshold["dead-letters"].conditions[0].condition_threshold[0].filter, "resource.labels.subscription_id = \"dagbucket-dead-letters\"") &&
      google_monitoring_alert_policy.threshold["dead-letters"].conditions[0].condition_threshold[0].threshold_value == 0
    )
    error_message = "One dead letter is enough."
  }

  assert {
    condition = (
      google_monitoring_alert_policy.query["failed-runs"].conditions[0].condition_prometheus_query_language[0].query ==
      "sum by (route) (increase(logging_googleapis_com:user_dagbucket_runs{monitored_resource=\"cloud_run_revision\",outcome=\"failed\"}[1h])) > 1"
    )
    error_message = "Failed runs are counted for each route."
  }

  assert {
    condition = (
      strcontains(google_monitoring_alert_policy.query["no-success"].conditions[0].condition_prometheus_query_language[0].query, "absent_over_time(logging_googleapis_com:user_dagbucket_runs{monitored_resource=\"cloud_run_revision\",route!=\"\",outcome=~\"deployed|unchanged\"}[18h])") &&
      google_monitoring_alert_policy.query["no-success"].conditions[0].condition_prometheus_query_language[0].duration == "21600s"
    )
    error_message = "18 hours back, for 6 hours: a day."
  }

  assert {
    condition     = alltrue([for p in google_monitoring_alert_policy.query : p.conditions[0].condition_prometheus_query_language[0].disable_metric_validation])
    error_message = "The first apply comes before the metric's first value."
  }

  assert {
    condition     = alltrue([for p in concat(values(google_monitoring_alert_policy.query), values(google_monitoring_alert_policy.threshold)) : length(p.notification_channels) == 2 && p.notification_channels[0] == "projects/acme-data/notificationChannels/7"])
    error_message = "Every alarm goes to every channel."
  }

  assert {
    condition     = google_monitoring_notification_channel.email["data@example.com"].type == "email" && google_monitoring_notification_channel.email["data@example.com"].labels.email_address == "data@example.com"
    error_message = "An address has one channel."
  }
}

run "another_name" {
  command = plan

  variables {
    name = "dag-sync"
  }

  assert {
    condition     = strcontains(google_monitoring_alert_policy.query["failed-runs"].conditions[0].condition_prometheus_query_language[0].query, "logging_googleapis_com:user_dag_sync_runs{")
    error_message = "PromQL writes a dash as _."
  }
}

run "no_alarms" {
  command = plan

  variables {
    alarms       = false
    alarm_emails = ["data@example.com"]
    dashboard    = false
  }

  assert {
    condition     = length(google_monitoring_alert_policy.threshold) + length(google_monitoring_alert_policy.query) + length(google_monitoring_notification_channel.email) + length(google_monitoring_dashboard.this) == 0
    error_message = "Alarms and dashboard can be left out."
  }
}

run "dashboard" {
  command = plan

  assert {
    condition = [for tile in jsondecode(google_monitoring_dashboard.this[0].dashboard_json).mosaicLayout.tiles : tile.widget.title] == [
      "Runs by outcome", "Seconds of the slowest runs by route", "Seconds of the slowest steps: list, pack, upload, wait", "Age of the newest change that is not live, in seconds by route",
      "Age of the oldest waiting event, in seconds", "Dead letters",
    ]
    error_message = "The dashboard has six charts."
  }

  assert {
    condition     = !strcontains(google_monitoring_dashboard.this[0].dashboard_json, "\":0")
    error_message = "Google gives no 0 back: with one, every plan would have a change."
  }

  assert {
    condition     = [for tile in jsondecode(google_monitoring_dashboard.this[0].dashboard_json).mosaicLayout.tiles : [try(tile.xPos, 0), try(tile.yPos, 0), tile.width, tile.height]] == [[0, 0, 24, 16], [24, 0, 24, 16], [0, 16, 24, 16], [24, 16, 24, 16], [0, 32, 24, 16], [24, 32, 24, 16]]
    error_message = "Each has a place of its own."
  }

  assert {
    condition     = length(jsondecode(google_monitoring_dashboard.this[0].dashboard_json).mosaicLayout.tiles[2].widget.xyChart.dataSets) == 4
    error_message = "A step has no line."
  }
}
