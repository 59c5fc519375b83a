locals {
  # In single quotes of a shell.
  notification_documents = { for b, s in local.notification_buckets : b => replace(jsonencode([for p in local.prefixes[b] : { for k, v in {
    Id       = "${var.name}-${substr(sha256(p), 0, 8)}"
    QueueArn = aws_sqs_queue.events.arn
    Events   = local.notification_events
    Filter   = p == "" ? null : { Key = { FilterRules = [{ Name = "prefix", Value = p }] } }
  } : k => v if v != null }]), "'", "'\\''") }

  # A bucket of this name that belongs to somebody else is refused.
  bucket_options = { for b, s in local.special : b => "--bucket ${b} --expected-bucket-owner ${coalesce(s.account_id, local.account)} --region ${local.region}" }

  # Ours is what goes to our queue, under whatever Id; the rest of the document stays. A document without queues stays as it is.
  without_ours = "(. // {}) | if .QueueConfigurations then .QueueConfigurations |= map(select(.QueueArn != \"${aws_sqs_queue.events.arn}\")) else . end"

  connect_filters = { for b, s in local.special : b => contains(keys(local.notification_buckets), b) ? join(" ", [
    "--argjson ours '${local.notification_documents[b]}'", "'${local.without_ours} | .QueueConfigurations += $ours'",
  ]) : "'${local.without_ours} | .EventBridgeConfiguration = {}'" }

  # Every bucket whose document somebody else keeps; those of the module's own go with the module.
  notification_commands = { for action in ["connect", "disconnect"] : action => {
    for b, s in local.special : b => join(" ", [
      "( current=\"$(aws s3api get-bucket-notification-configuration ${local.bucket_options[b]} --output json)\"",
      "&& merged=\"$(printf '%s' \"$${current:-null}\" | jq -ce ${action == "connect" ? local.connect_filters[b] : "'${local.without_ours}'"})\"",
      "&& aws s3api put-bucket-notification-configuration ${local.bucket_options[b]} --notification-configuration \"$merged\" )",
    ]) if !contains(keys(local.managed_notifications), b)
  } }

  fill_token_command = local.create_token_secret ? join(" ", [
    "( read -rsp 'Astro API token: ' token && [ -n \"$token\" ] && printf %s \"$token\" |",
    "aws secretsmanager put-secret-value --region ${local.region} --secret-id '${local.token_secret_arn}' --secret-string file:///dev/stdin )",
  ]) : null

  first_run_command = "aws lambda invoke --region ${local.region} --function-name ${var.name} --cli-read-timeout 0 --payload fileb:///dev/stdin /dev/stdout <<< '{}'"
}

output "function_name" {
  description = "Name of the function."
  value       = aws_lambda_function.this.function_name
}

output "function_arn" {
  description = "ARN of the function."
  value       = aws_lambda_function.this.arn
}

output "role_arn" {
  description = "ARN of the function's role."
  value       = aws_iam_role.function.arn
}

output "queue_arn" {
  description = "ARN of the queue that events come through."
  value       = aws_sqs_queue.events.arn
}

output "queue_url" {
  description = "URL of the queue that events come through."
  value       = aws_sqs_queue.events.url
}

output "dead_letter_queue_arn" {
  description = "ARN of the dead-letter queue."
  value       = aws_sqs_queue.dead_letters.arn
}

output "dead_letter_queue_url" {
  description = "URL of the dead-letter queue."
  value       = aws_sqs_queue.dead_letters.url
}

output "state_bucket" {
  description = "Name of the state bucket."
  value       = aws_s3_bucket.state.bucket
}

output "config_url" {
  description = "URL of the configuration file; as DAGBUCKET_CONFIG it lets the command line work with the same routes."
  value       = local.config_url
}

output "created_buckets" {
  description = "ARNs of the source buckets that the module created, by name."
  value       = { for b, bucket in aws_s3_bucket.dags : b => bucket.arn }
}

output "log_group_name" {
  description = "Name of the function's log group."
  value       = aws_cloudwatch_log_group.function.name
}

output "token_secret_arn" {
  description = "ARN of the secret with the Astro API token of routes that name none themselves."
  value       = local.token_secret_arn
}

output "alarm_topic_arn" {
  description = "ARN of the topic that alarms go to."
  value       = local.alarm_topic_arn
}

output "dashboard_url" {
  description = "Address of the dashboard; null without one."
  value       = var.dashboard ? "https://${local.region}.console.aws.amazon.com/cloudwatch/home?region=${local.region}#dashboards/dashboard/${aws_cloudwatch_dashboard.this[0].dashboard_name}" : null
}

output "kms_key_arn" {
  description = "ARN of the customer-managed key, created or given; null without one."
  value       = local.kms_key_arn
}

output "kms_key_policy_statements" {
  description = "JSON of the statements that the policy of a given kms_key_arn needs before the first apply; it depends on no key. null if the module made the key."
  value       = var.create_kms_key ? null : jsonencode(local.key_statements)
}

output "next_commands" {
  description = "Bash commands to run after the first apply, in this order: store the token, connect this account's buckets, run every route once."
  value       = concat(local.fill_token_command[*], [for b, c in local.notification_commands.connect : c if local.special[b].account_id == null], [local.first_run_command])
}

output "fill_token_command" {
  description = "Bash command that asks for the Astro API token and stores it in the created secret; null if the module created none."
  value       = local.fill_token_command
}

output "first_run_command" {
  description = "Bash command that runs every route once and prints the outcomes."
  value       = local.first_run_command
}

output "redrive_command" {
  description = "Bash command that sends the dead letters to the function again, once the cause is repaired. With a customer-managed key whoever runs it needs kms:Decrypt and kms:GenerateDataKey on it."
  value       = "aws sqs start-message-move-task --region ${local.region} --source-arn ${aws_sqs_queue.dead_letters.arn}"
}

output "connect_bucket_commands" {
  description = "Bash commands, by bucket, that add the module's entry to the notification document of a bucket it does not manage, and keep all others."
  value       = local.notification_commands.connect
}

output "disconnect_bucket_commands" {
  description = "Bash commands, by bucket, that remove the module's entries from that document again: before destroy, a new name, or the end of the bucket's last route."
  value       = local.notification_commands.disconnect
}

output "other_account_bucket_policies" {
  description = "JSON, by bucket of another account, of the statements that account must add: to the bucket's policy, and to its key's policy if it has a key."
  value = { for b, s in local.foreign_buckets : b => jsonencode({
    bucket_policy_statements = [
      {
        Sid       = "DagbucketList"
        Effect    = "Allow"
        Principal = { AWS = aws_iam_role.function.arn }
        Action    = "s3:ListBucket"
        Resource  = "arn:${local.partition}:s3:::${b}"
        Condition = { StringLike = { "s3:prefix" = [for p in local.prefixes[b] : "${p}*"] } }
      },
      {
        Sid       = "DagbucketRead"
        Effect    = "Allow"
        Principal = { AWS = aws_iam_role.function.arn }
        Action    = "s3:GetObject"
        # wildcard: the keys below the prefix are the DAG files, which nobody knows beforehand
        Resource = [for p in local.prefixes[b] : "arn:${local.partition}:s3:::${b}/${p}*"]
      },
    ]
    key_policy_statements = [for k in compact([s.kms_key_arn]) : {
      Sid       = "DagbucketDecrypt"
      Effect    = "Allow"
      Principal = { AWS = aws_iam_role.function.arn }
      Action    = "kms:Decrypt"
      # wildcard: in a key's policy it is this key
      Resource  = "*"
      Condition = { StringEquals = { "kms:ViaService" = "s3.${local.region}.${local.dns_suffix}" } }
    }]
  }) }
}
