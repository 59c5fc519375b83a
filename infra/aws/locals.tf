data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.region

  # Built from names and not read off the resources, so that policies which name each other make no cycle.
  function_arn   = "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${var.name}"
  log_group_name = "/aws/lambda/${var.name}"
  log_group_arn  = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${local.log_group_name}"
  queue_arn      = "arn:${local.partition}:sqs:${local.region}:${local.account}:${var.name}"
  state_bucket   = coalesce(var.state_bucket_name, "${var.name}-state-${local.account}-${local.region}")

  seconds_of = { h = 3600, m = 60, s = 1, ms = 0.001, us = 0.000001, "µs" = 0.000001, ns = 0.000000001 }

  visibility_timeout = var.queue_visibility_timeout == null ? 6 * var.timeout : var.queue_visibility_timeout

  sources = distinct(flatten([for r in var.routes : [for s in r.sources : {
    bucket = split("/", trimprefix(s.url, "s3://"))[0]
    prefix = join("/", slice(split("/", trimprefix(s.url, "s3://")), 1, length(split("/", s.url)) - 2))
  }]]))
  source_buckets = distinct(local.sources[*].bucket)

  # bucket → its prefixes without those inside another one: S3 refuses overlapping filters, and EventBridge would send an event twice.
  prefixes = { for b in local.source_buckets : b => sort([
    for s in local.sources : s.prefix if s.bucket == b && !anytrue([
      for other in local.sources : other.bucket == b && other.prefix != s.prefix && startswith(s.prefix, other.prefix)
    ])
  ]) }

  # No try() or lookup(): with an ARN that is not known yet their whole result would not be, and nothing could be planned.
  special = { for b in local.source_buckets : b => contains(keys(var.buckets), b) ? var.buckets[b] : {
    create = false, kms_key_arn = null, account_id = null, manage_bucket_notification = null, noncurrent_days = 30, expire_delete_markers = true
  } }
  created_buckets  = { for b, s in var.buckets : b => s if s.create } # with or without a route: a bucket outlives its last one
  foreign_buckets  = { for b, s in local.special : b => s if s.account_id != null }
  existing_buckets = { for b, s in local.special : b => s if !s.create && s.account_id == null }

  # Only these documents are ever written by the module.
  managed_notifications = {
    for b, s in merge(local.special, local.created_buckets) : b => s
    if s.account_id == null && (s.manage_bucket_notification == null ? s.create : s.manage_bucket_notification)
  }

  # Other accounts' EventBridge would need a bus and a role of theirs; S3 sends straight to a queue of another account.
  eventbridge_buckets  = { for b, s in local.special : b => s if var.trigger == "eventbridge" && s.account_id == null }
  notification_buckets = { for b, s in local.special : b => s if var.trigger == "notification" || s.account_id != null }

  # What each target of notify says; the variable refuses what says nothing.
  notify_targets = [for d in flatten([for r in var.routes : [
    for n in(r.notify == null ? [] : r.notify) : try(jsondecode(startswith(n, "{") ? n : jsonencode({ to = n })), {})
  ]]) : { to = try(d.to, ""), secret = try(d.secret, "") }]
  notify_events = ["kept", "left_out", "held", "failed", "recovered", "drift", "import_errors", "deployed"]
  notify_topics = distinct([for t in local.notify_targets : trimprefix(t.to, "sns:") if startswith(t.to, "sns:")])
  notify_references = distinct(concat(
    [for t in local.notify_targets : replace(t.to, "/^(webhook|slack):/", "") if can(regex("^(webhook|slack):aws-", t.to))],
    [for t in local.notify_targets : t.secret if t.secret != ""],
  ))
  reference_form = join("|", [
    "aws-sm:arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@!-]+-[A-Za-z0-9]{6}(#[^[:cntrl:]]+)?",
    "aws-ssm:(arn:aws[a-z-]*:ssm:[a-z0-9-]+:[0-9]{12}:parameter/)?[A-Za-z0-9/_.-]+(:[A-Za-z0-9_.-]+)?",
  ])

  # Where the copies of the status pages go, and the keys that encrypt them there.
  status_places  = [for r in var.routes : trimprefix(r.status, "s3://") if r.status != null]
  status_buckets = distinct([for p in local.status_places : split("/", p)[0]])
  status_keys = distinct(concat(var.status_kms_key_arns, compact(concat(
    [for b, k in local.bucket_key : k if contains(local.status_buckets, b)],
    [for b, s in local.special : s.kms_key_arn if contains(local.status_buckets, b)],
  ))))

  token_secret_arn = local.create_token_secret ? one(aws_secretsmanager_secret.token[*].arn) : var.token_secret
  create_token_secret = coalesce(
    var.create_token_secret,
    var.token_secret == null && anytrue([for r in var.routes : r.token == null]),
  )

  # A null is a key that is left out, so that the code's own defaults hold. Numbers stay numbers.
  config = yamlencode({
    state = "s3://${local.state_bucket}/"
    routes = [for r in var.routes : { for k, v in {
      name         = r.name
      sources      = [for s in r.sources : { for k, v in s : k => v if v != null }]
      deployment   = r.deployment
      organization = r.organization
      token        = r.token != null ? r.token : "aws-sm:${local.token_secret_arn}"
      quiet_period = r.quiet_period
      max_wait     = r.max_wait
      syntax       = r.syntax
      guard        = r.guard == null ? null : { for k, v in r.guard : k => v if v != null }
      limits = r.limits == null ? null : { for k, v in {
        max_files = r.limits.max_files
        max_bytes = try(tonumber(r.limits.max_bytes), r.limits.max_bytes)
      } : k => v if v != null }
      replace_existing = r.replace_existing
      on_drift         = r.on_drift
      base_dir         = r.base_dir
      keep_bundles     = r.keep_bundles
      status           = r.status
      import_errors    = r.import_errors
      notify           = r.notify == null ? null : [for n in r.notify : jsondecode(startswith(n, "{") ? n : jsonencode(n))]
    } : k => v if v != null }]
  })
  config_url = "s3://${local.state_bucket}/dagbucket.yaml"
}
