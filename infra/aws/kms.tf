# One customer-managed key, created or given, for everything that the module stores; or none, and AWS's own keys encrypt.

locals {
  # Known when planning also where the ARN is not.
  customer_key = var.create_kms_key || var.kms_key_arn != null
  kms_key_arn  = var.create_kms_key ? one(aws_kms_key.this[*].arn) : var.kms_key_arn

  # What the key's policy needs besides the account's own rights. A service that may not use the key loses what it should deliver, silently.
  # A given key may take its policy from here. So nothing here may depend on a key, nor on what else it may encrypt: buckets, a given topic.
  key_statements = concat(
    # SQS says in the encryption context which queue it is about; which of the two services may send there, and for whom, is in the queue's
    # own policy. aws:SourceAccount and aws:SourceArn are not used: AWS's examples for EventBridge have neither, and where EventBridge does
    # not send them every event is lost.
    [{
      Sid       = "EventsIntoQueue"
      Effect    = "Allow"
      Principal = { Service = ["events.amazonaws.com", "s3.amazonaws.com"] }
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      # wildcard: in a key's policy it is this key
      Resource  = "*"
      Condition = { StringEquals = { "kms:EncryptionContext:aws:sqs:arn" = local.queue_arn } }
    }],
    [{
      Sid       = "Logs"
      Effect    = "Allow"
      Principal = { Service = "logs.${local.region}.${data.aws_partition.current.dns_suffix}" }
      # wildcard: ReEncrypt* and GenerateDataKey* are the families that CloudWatch Logs documents
      Action = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
      # wildcard: in a key's policy it is this key
      Resource  = "*"
      Condition = { ArnEquals = { "kms:EncryptionContext:aws:logs:arn" = local.log_group_arn } }
    }],
    [for s in [{
      Sid       = "AlarmsIntoTopic"
      Effect    = "Allow"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      # wildcard: in a key's policy it is this key
      Resource = "*"
      Condition = {
        ArnLike      = { "aws:SourceArn" = local.alarm_arns }
        StringEquals = { "aws:SourceAccount" = local.account }
      }
    }] : s if var.alarms],
  )
}

resource "aws_kms_key" "this" {
  count = var.create_kms_key ? 1 : 0

  description             = "dagbucket ${var.name}: state, queues, token, logs"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  tags                    = var.tags

  policy = jsonencode({ Version = "2012-10-17", Statement = concat(
    # Without it nobody could ever change the key again, and no role's policy would count.
    [{
      Sid       = "Account"
      Effect    = "Allow"
      Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
      # wildcard: the account stays master of its key
      Action = "kms:*"
      # wildcard: in a key's policy it is this key
      Resource = "*"
    }],
    local.key_statements,
  ) })
}

resource "aws_kms_alias" "this" {
  count = var.create_kms_key ? 1 : 0

  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this[0].key_id
}
