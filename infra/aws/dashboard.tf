locals {
  dashboard_widgets = [
    {
      title   = "Runs by outcome", stat = "Sum", stacked = true
      metrics = [for outcome in ["deployed", "unchanged", "covered", "held", "busy", "failed"] : ["dagbucket", outcome, "function", var.name]]
    },
    {
      title   = "Seconds of a run", stat = "p95", stacked = false
      metrics = [["dagbucket", "seconds", "function", var.name]]
    },
    {
      # A step has a value only where it ran.
      title   = "Seconds by step", stat = "Average", stacked = true
      metrics = [for step in ["Lease", "Record", "Preflight", "List", "Wait", "Pack", "Create", "Upload", "Pending", "Finalize", "Prune", "Follow", "ImportErrors", "Status"] : ["dagbucket", "seconds${step}", "function", var.name]]
    },
    {
      title   = "Age of the newest change that is not live", stat = "Maximum", stacked = false
      metrics = [["dagbucket", "notLiveAge", "function", var.name]]
    },
    {
      title   = "Files and bytes", stat = "Maximum", stacked = false
      metrics = [["dagbucket", "files", "function", var.name], ["dagbucket", "bytes", "function", var.name, { yAxis = "right" }]]
    },
    {
      title   = "Files kept and left out", stat = "Maximum", stacked = false
      metrics = [["dagbucket", "kept", "function", var.name], ["dagbucket", "leftOut", "function", var.name]]
    },
    {
      title   = "Requests to the storage", stat = "Sum", stacked = true
      metrics = [for kind in ["List", "Get", "Put", "Delete"] : ["dagbucket", "requests${kind}", "function", var.name]]
    },
    {
      title = "Messages waiting, in work and dead", stat = "Maximum", stacked = false
      metrics = [
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", var.name],
        ["AWS/SQS", "ApproximateNumberOfMessagesNotVisible", "QueueName", var.name],
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "${var.name}-dead-letters"],
      ]
    },
    {
      title   = "Age of the oldest message", stat = "Maximum", stacked = false
      metrics = [["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", var.name]]
    },
    {
      title   = "Invocations, errors and throttles", stat = "Sum", stacked = false
      metrics = [for m in ["Invocations", "Errors", "Throttles"] : ["AWS/Lambda", m, "FunctionName", var.name]]
    },
  ]

  # The summary line that the function logs for each run.
  runs_query = join(" | ", [
    "SOURCE '${local.log_group_name}'",
    "fields @timestamp, route, outcome, reason, files, bytes, kept, leftOut, notLiveAge, seconds",
    "filter msg = 'run' and outcome != 'covered' and outcome != 'busy'",
    "sort @timestamp desc",
    "limit 100",
  ])
}

resource "aws_cloudwatch_dashboard" "this" {
  count = var.dashboard ? 1 : 0

  dashboard_name = "${var.name}-${local.region}" # an account has each dashboard's name once, whatever the region
  dashboard_body = jsonencode({ widgets = concat(
    [for i, w in local.dashboard_widgets : {
      type = "metric", x = (i % 3) * 8, y = floor(i / 3) * 6, width = 8, height = 6
      properties = {
        title = w.title, region = local.region, view = "timeSeries", stacked = w.stacked, stat = w.stat, period = 300, metrics = w.metrics
      }
    }],
    [{
      type       = "log", x = 0, y = ceil(length(local.dashboard_widgets) / 3) * 6, width = 24, height = 9
      properties = { title = "Latest runs", region = local.region, view = "table", query = local.runs_query }
    }],
  ) })
}
