# What an operator must know of, and nothing that passes by itself.

locals {
  create_alarm_topic = var.alarms && coalesce(var.create_alarm_topic, var.alarm_topic_arn == null)
  alarm_topic_arn    = local.create_alarm_topic ? one(aws_sns_topic.alarms[*].arn) : var.alarm_topic_arn
  alarm_actions      = var.alarms ? compact([local.alarm_topic_arn]) : []

  # wildcard: the alarms of this module, by the prefix of their names
  alarm_arns = "arn:${local.partition}:cloudwatch:${local.region}:${local.account}:alarm:${var.name}-*"

  # Messages of a failed run come back after the visibility time-out, so their age then is normal. One that is older failed twice, or nobody
  # takes messages at all. (SQS leaves a message that was received three times out of this figure; that one becomes a dead letter.)
  oldest_message = coalesce(var.oldest_message_seconds, local.visibility_timeout + 2 * var.timeout)

  metric_alarms = { for key, alarm in {
    dead-letters = {
      description = "Messages that failed ten times, or that nobody understands, are in ${var.name}-dead-letters: look at them there."
      namespace   = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = "${var.name}-dead-letters" }
      statistic   = "Maximum", period = 300, periods = 1, datapoints = 1, threshold = 0
      missing     = "ignore" # SQS measures a queue only for hours after its last use; the dead letters are there all the same
    }
    errors = {
      description = "The function crashed or ran out of time. Its log says why."
      namespace   = "AWS/Lambda", metric = "Errors", dimensions = { FunctionName = var.name }
      statistic   = "Sum", period = 900, periods = 1, datapoints = 1, threshold = 0
    }
    # One period with a failure may be one that passed when it was repeated; the schedule shows by the next period whether it did.
    failed-runs = {
      description = "Runs keep failing. The lines with outcome=failed in the function's log say why."
      namespace   = "dagbucket", metric = "failed", dimensions = { function = var.name }
      statistic   = "Sum", period = 900, periods = 3, datapoints = 2, threshold = 0
    }
    oldest-message = {
      description = "Messages wait for longer than a repeated run explains: the function does not take them."
      namespace   = "AWS/SQS", metric = "ApproximateAgeOfOldestMessage", dimensions = { QueueName = var.name }
      statistic   = "Maximum", period = 300, periods = 1, datapoints = 1, threshold = local.oldest_message
    }
    held-runs = {
      description = "Runs are held until a person acts: dagbucket status says why, and what to do."
      namespace   = "dagbucket", metric = "held", dimensions = { function = var.name }
      statistic   = "Sum", period = 900, periods = 4, datapoints = 4, threshold = 0
    }
  } : key => alarm if var.alarms && (key != "held-runs" || var.alarm_held) }

  route_alarms = toset(var.alarms && var.alarm_per_route ? var.routes[*].name : [])
}

# Without a customer-managed key it is not encrypted: of AWS's own key for SNS CloudWatch may not make use, and alarms would be lost. They
# name a queue or a route, never a file or a token.
resource "aws_sns_topic" "alarms" {
  count = local.create_alarm_topic ? 1 : 0

  name              = "${var.name}-alarms"
  kms_master_key_id = local.kms_key_arn
  tags              = var.tags
}

resource "aws_sns_topic_policy" "alarms" {
  count = local.create_alarm_topic ? 1 : 0

  arn = aws_sns_topic.alarms[0].arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Alarms"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.alarms[0].arn
        Condition = {
          ArnLike      = { "aws:SourceArn" = local.alarm_arns }
          StringEquals = { "aws:SourceAccount" = local.account }
        }
      },
      {
        Sid       = "TLSOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.alarms[0].arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

resource "aws_sns_topic_subscription" "email" {
  for_each = toset(local.create_alarm_topic ? var.alarm_emails : [])

  topic_arn = aws_sns_topic.alarms[0].arn
  protocol  = "email"
  endpoint  = each.value
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.metric_alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = each.value.datapoints
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = try(each.value.missing, "notBreaching")
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
  tags                = var.tags
}

# Scheduled runs that find nothing to do count as successes, so silence is a fault.
resource "aws_cloudwatch_metric_alarm" "route" {
  for_each = local.route_alarms

  alarm_name          = "${var.name}-no-success-${each.value}"
  alarm_description   = "Route ${each.value} had no successful run for a day: dagbucket status --route ${each.value} says why."
  namespace           = "dagbucket"
  metric_name         = "succeeded"
  dimensions          = { function = var.name, route = each.value }
  statistic           = "Sum"
  period              = 86400
  evaluation_periods  = 1
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
  tags                = var.tags
}
