# bucket → EventBridge or notification → queue → function. The schedule takes the same way, so there is one dead-letter queue.

locals {
  # A pattern may have 2,048 characters: at most 10 prefixes in one rule, fewer if they are long.
  rule_prefixes = merge([for b, s in local.eventbridge_buckets : {
    for i, chunk in chunklist(local.prefixes[b], max(1, min(10, floor(1600 / (max([for p in local.prefixes[b] : length(jsonencode(p))]...) + 13))))) :
    "${b}/${i + 1}" => { bucket = b, number = i + 1, prefixes = chunk }
  }]...)

  event_pattern = { for key, rule in local.rule_prefixes : key => jsonencode({
    source        = ["aws.s3"]
    "detail-type" = ["Object Created", "Object Deleted", "Object Restore Completed"]
    detail = { for k, v in {
      bucket = { name = [rule.bucket] }
      object = contains(rule.prefixes, "") ? null : { key = [for p in rule.prefixes : { prefix = p }] } # the whole bucket: no filter
    } : k => v if v != null }
  }) }

  # "ObjectRemoved:*" and "LifecycleExpiration:*" are deletions, also those that a lifecycle rule makes.
  notification_events = ["s3:LifecycleExpiration:*", "s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectRestore:Completed"]
}

resource "aws_sqs_queue" "events" {
  name                       = var.name
  visibility_timeout_seconds = local.visibility_timeout
  message_retention_seconds  = 604800 # more than ten receives take at the longest visibility time-out
  kms_master_key_id          = local.kms_key_arn
  sqs_managed_sse_enabled    = local.customer_key ? null : true
  tags                       = var.tags

  redrive_policy = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead_letters.arn, maxReceiveCount = 10 })
}

resource "aws_sqs_queue" "dead_letters" {
  name                      = "${var.name}-dead-letters"
  message_retention_seconds = 1209600
  kms_master_key_id         = local.kms_key_arn
  sqs_managed_sse_enabled   = local.customer_key ? null : true
  tags                      = var.tags
}

resource "aws_sqs_queue_redrive_allow_policy" "dead_letters" {
  queue_url            = aws_sqs_queue.dead_letters.id
  redrive_allow_policy = jsonencode({ redrivePermission = "byQueue", sourceQueueArns = [aws_sqs_queue.events.arn] })
}

resource "aws_sqs_queue_policy" "events" {
  queue_url = aws_sqs_queue.events.id
  policy    = local.queue_policy

  lifecycle {
    precondition {
      condition     = length(local.queue_policy) <= 8192
      error_message = "The queue's policy is longer than the 8,192 characters that SQS takes: split the source buckets between two modules, each with its own name."
    }

    precondition {
      condition     = alltrue([for b in values(data.aws_s3_bucket.existing) : b.bucket_region == local.region])
      error_message = "Events do not cross regions, and this module works in ${local.region}: use a provider for the region of ${join(", ", [for name, b in data.aws_s3_bucket.existing : "${name} (${b.bucket_region})" if b.bucket_region != local.region])}."
    }
  }
}

resource "aws_sqs_queue_policy" "dead_letters" {
  queue_url = aws_sqs_queue.dead_letters.id
  policy    = jsonencode({ Version = "2012-10-17", Statement = [merge(local.tls_only_queue, { Resource = aws_sqs_queue.dead_letters.arn })] })
}

locals {
  tls_only_queue = {
    Sid       = "TLSOnly"
    Effect    = "Deny"
    Principal = "*"
    # wildcard: it denies, and so must name every action
    Action    = "sqs:*"
    Condition = { Bool = { "aws:SecureTransport" = "false" } }
  }

  queue_policy = jsonencode({ Version = "2012-10-17", Statement = concat(
    [{
      Sid       = "EventBridge"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = aws_sqs_queue.events.arn
      Condition = { ArnEquals = { "aws:SourceArn" = concat([aws_cloudwatch_event_rule.reconcile.arn], [for r in aws_cloudwatch_event_rule.objects : r.arn]) } }
    }],
    [for s in [{
      Sid       = "Buckets"
      Effect    = "Allow"
      Principal = { Service = "s3.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = aws_sqs_queue.events.arn
      # A deleted bucket's name may be taken by another account: so its owner must be right too.
      Condition = {
        ArnEquals    = { "aws:SourceArn" = [for b in keys(local.notification_buckets) : "arn:${local.partition}:s3:::${b}"] }
        StringEquals = { "aws:SourceAccount" = distinct([for b in values(local.notification_buckets) : coalesce(b.account_id, local.account)]) }
      }
    }] : s if length(local.notification_buckets) > 0],
    [merge(local.tls_only_queue, { Resource = aws_sqs_queue.events.arn })],
  ) })
}

resource "aws_cloudwatch_event_rule" "objects" {
  for_each = local.rule_prefixes

  # Names of buckets may be as long as a rule's: a hash tells apart what is cut.
  name          = "${var.name}-${substr(replace(each.value.bucket, ".", "-"), 0, 16)}-${substr(sha256(each.value.bucket), 0, 6)}-${each.value.number}"
  description   = "Changes below the prefixes of s3://${each.value.bucket} that dagbucket deploys"
  event_pattern = local.event_pattern[each.key]
  tags          = var.tags

  lifecycle {
    precondition {
      condition     = length(local.event_pattern[each.key]) <= 2048
      error_message = "The event pattern for bucket ${each.value.bucket} is longer than the 2,048 characters that EventBridge takes: shorten its prefixes, or use trigger = \"notification\"."
    }
  }
}

resource "aws_cloudwatch_event_target" "objects" {
  for_each = local.rule_prefixes

  rule      = aws_cloudwatch_event_rule.objects[each.key].name
  target_id = "queue"
  arn       = aws_sqs_queue.events.arn

  depends_on = [aws_sqs_queue_policy.events]
}

# Events are hints and may be lost: at the latest this finds what they missed.
resource "aws_cloudwatch_event_rule" "reconcile" {
  name                = "${var.name}-reconcile"
  description         = "Lets dagbucket look at every source, whatever events were lost"
  schedule_expression = var.reconcile_schedule
  tags                = var.tags
}

resource "aws_cloudwatch_event_target" "reconcile" {
  rule      = aws_cloudwatch_event_rule.reconcile.name
  target_id = "queue"
  arn       = aws_sqs_queue.events.arn

  depends_on = [aws_sqs_queue_policy.events]
}

# A bucket has one such document, and this resource replaces it whole: by default it is made for the module's own buckets only. Where it goes,
# by destroy or since manage_bucket_notification is false again, it leaves an empty document: nothing is told any more, EventBridge is off.
resource "aws_s3_bucket_notification" "managed" {
  for_each = local.managed_notifications

  bucket      = each.value.create ? aws_s3_bucket.dags[each.key].bucket : each.key
  eventbridge = var.trigger == "eventbridge"

  dynamic "queue" {
    for_each = [for p in contains(local.source_buckets, each.key) ? local.prefixes[each.key] : [] : p if var.trigger == "notification"]
    content {
      id            = "${var.name}-${substr(sha256(queue.value), 0, 8)}"
      queue_arn     = aws_sqs_queue.events.arn
      events        = local.notification_events
      filter_prefix = queue.value
    }
  }

  lifecycle {
    precondition {
      condition     = var.trigger == "eventbridge" || length(contains(local.source_buckets, each.key) ? local.prefixes[each.key] : []) <= 100
      error_message = "Bucket ${each.key} has more than the 100 prefixes for which S3 takes notifications: use trigger = \"eventbridge\"."
    }
  }

  depends_on = [aws_sqs_queue_policy.events] # S3 tries the queue when the document is written
}

# Read only: without it a run would be the first to find that a bucket is elsewhere.
data "aws_s3_bucket" "existing" {
  for_each = var.check_buckets ? local.existing_buckets : {}

  bucket = each.key
}
