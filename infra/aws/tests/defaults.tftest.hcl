# What ten lines make: one existing bucket, one Deployment.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  zip_file = "tests/function.zip"
  routes = [{
    name       = "prod"
    sources    = [{ url = "s3://acme-dags/dags/" }]
    deployment = "clmh57jtm000008lb58fe2wmv"
  }]
}

run "function" {
  command = plan

  assert {
    condition = (
      aws_lambda_function.this.function_name == "dagbucket" && aws_lambda_function.this.runtime == "provided.al2023" &&
      aws_lambda_function.this.handler == "bootstrap" && aws_lambda_function.this.architectures == tolist(["arm64"])
    )
    error_message = "The function is not what the zip is built for."
  }

  assert {
    condition     = aws_lambda_function.this.memory_size == 512 && aws_lambda_function.this.timeout == 300 && one(aws_lambda_function.this.ephemeral_storage).size == 512
    error_message = "Memory, time-out and disk have other defaults."
  }

  assert {
    condition     = aws_lambda_function.this.reserved_concurrent_executions == null && length(aws_lambda_function.this.vpc_config) == 0 && length(aws_lambda_function.this.tracing_config) == 0
    error_message = "The function reserves or traces something, or is in a VPC."
  }

  assert {
    condition     = aws_lambda_function.this.filename == "tests/function.zip" && aws_lambda_function.this.source_code_hash == filebase64sha256("tests/function.zip")
    error_message = "The hash is not that of the zip's content."
  }

  assert {
    condition     = one(aws_lambda_function.this.logging_config).log_format == "Text" && one(aws_lambda_function.this.logging_config).log_group == "/aws/lambda/dagbucket"
    error_message = "Metrics arrive only if the log is text, in the module's own group."
  }

  assert {
    condition     = aws_cloudwatch_log_group.function.retention_in_days == 30 && aws_cloudwatch_log_group.function.kms_key_id == null
    error_message = "The log's retention or encryption is not the default."
  }

  assert {
    condition = one(aws_lambda_function.this.environment).variables == tomap({
      CONFIG_SHA256    = sha256(aws_s3_object.config.content)
      DAGBUCKET_CONFIG = "s3://dagbucket-state-123456789012-eu-west-1/dagbucket.yaml"
    })
    error_message = "The environment is more or less than the configuration's place and hash."
  }
}

run "configuration" {
  command = plan

  assert {
    condition = yamldecode(aws_s3_object.config.content) == {
      state = "s3://dagbucket-state-123456789012-eu-west-1/"
      routes = [{
        name       = "prod"
        sources    = [{ url = "s3://acme-dags/dags/" }]
        deployment = "clmh57jtm000008lb58fe2wmv"
        token      = "aws-sm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:dagbucket/astro-api-token-20261125103439000000000001-AbCdEf"
      }]
    }
    error_message = "The file has keys that nobody set, or lacks some."
  }

  assert {
    condition     = aws_s3_object.config.key == "dagbucket.yaml" && aws_s3_object.config.tags == null
    error_message = "The file lies elsewhere, or has tags, of which an object takes only ten."
  }
}

run "events" {
  command = plan

  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.objects["acme-dags/1"].event_pattern) == {
      source        = ["aws.s3"]
      "detail-type" = ["Object Created", "Object Deleted", "Object Restore Completed"]
      detail        = { bucket = { name = ["acme-dags"] }, object = { key = [{ prefix = "dags/" }] } }
    }
    error_message = "The rule matches something else."
  }

  assert {
    condition     = keys(aws_cloudwatch_event_rule.objects) == ["acme-dags/1"] && aws_cloudwatch_event_target.objects["acme-dags/1"].arn == aws_sqs_queue.events.arn
    error_message = "The events do not go to the queue, once."
  }

  assert {
    condition     = aws_cloudwatch_event_rule.reconcile.schedule_expression == "rate(5 minutes)" && aws_cloudwatch_event_target.reconcile.arn == aws_sqs_queue.events.arn
    error_message = "The schedule does not go to the queue every 5 minutes."
  }

  assert {
    condition     = aws_sqs_queue.events.visibility_timeout_seconds == 6 * 300 && aws_sqs_queue.events.message_retention_seconds >= 10 * 1800
    error_message = "The queue's times do not fit the function's."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.events.redrive_policy).maxReceiveCount == 10 && aws_sqs_queue.dead_letters.message_retention_seconds == 1209600
    error_message = "Dead letters come too early, or are kept for too short a time."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue_redrive_allow_policy.dead_letters.redrive_allow_policy) == { redrivePermission = "byQueue", sourceQueueArns = [aws_sqs_queue.events.arn] }
    error_message = "Other queues may use the dead-letter queue."
  }

  assert {
    condition = [for s in jsondecode(aws_sqs_queue_policy.events.policy).Statement : s.Sid] == ["EventBridge", "TLSOnly"] && (
      jsondecode(aws_sqs_queue_policy.events.policy).Statement[0].Principal == { Service = "events.amazonaws.com" } &&
      length(jsondecode(aws_sqs_queue_policy.events.policy).Statement[0].Condition.ArnEquals["aws:SourceArn"]) == 2
    )
    error_message = "Others than the module's two rules may send to the queue."
  }

  assert {
    condition = alltrue([for p in [aws_sqs_queue_policy.events.policy, aws_sqs_queue_policy.dead_letters.policy] : anytrue([
      for s in jsondecode(p).Statement : s.Effect == "Deny" && s.Principal == "*" && s.Condition == { Bool = { "aws:SecureTransport" = "false" } }
    ])])
    error_message = "A queue takes messages without TLS."
  }
}

run "mapping" {
  command = plan

  assert {
    condition     = aws_lambda_event_source_mapping.queue.batch_size == 1000 && aws_lambda_event_source_mapping.queue.maximum_batching_window_in_seconds == 2
    error_message = "The batches are not large, or the window not short."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.queue.function_response_types == toset(["ReportBatchItemFailures"])
    error_message = "One bad message would bring all of its batch back."
  }

  assert {
    condition     = one(aws_lambda_event_source_mapping.queue.scaling_config).maximum_concurrency == 2
    error_message = "Lambda takes no concurrency below 2."
  }
}

run "state" {
  command = plan

  assert {
    condition     = aws_s3_bucket.state.bucket == "dagbucket-state-123456789012-eu-west-1" && aws_s3_bucket.state.force_destroy == false
    error_message = "The state bucket has another name, or can be destroyed with its content."
  }

  assert {
    condition = (
      aws_s3_bucket_public_access_block.state.block_public_acls && aws_s3_bucket_public_access_block.state.block_public_policy &&
      aws_s3_bucket_public_access_block.state.ignore_public_acls && aws_s3_bucket_public_access_block.state.restrict_public_buckets
    )
    error_message = "The state can be made public."
  }

  assert {
    condition     = one(aws_s3_bucket_ownership_controls.state.rule).object_ownership == "BucketOwnerEnforced" && one(aws_s3_bucket_versioning.state.versioning_configuration).status == "Enabled"
    error_message = "The state has ACLs, or no versions."
  }

  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.state.rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"
    error_message = "The state is not encrypted."
  }

  assert {
    condition = alltrue([for r in aws_s3_bucket_lifecycle_configuration.state.rule :
      length(r.transition) == 0 && alltrue([for e in r.expiration : e.expired_object_delete_marker == true && e.date == null])
    ])
    error_message = "A rule deletes or moves current objects: bundles that are still needed would be lost."
  }

  assert {
    condition     = jsondecode(aws_s3_bucket_policy.state.policy).Statement[0].Effect == "Deny" && jsondecode(aws_s3_bucket_policy.state.policy).Statement[0].Condition == { Bool = { "aws:SecureTransport" = "false" } }
    error_message = "The state can be read without TLS."
  }

  assert {
    condition     = aws_sqs_queue.events.sqs_managed_sse_enabled == true && aws_sqs_queue.dead_letters.sqs_managed_sse_enabled == true && aws_sqs_queue.events.kms_master_key_id == null
    error_message = "A queue is not encrypted."
  }

  assert {
    condition     = length(aws_kms_key.this) == 0 && output.kms_key_arn == null
    error_message = "There is a key that nobody asked for."
  }

  assert {
    condition     = [for s in jsondecode(output.kms_key_policy_statements) : s.Sid] == ["EventsIntoQueue", "Logs", "AlarmsIntoTopic"]
    error_message = "A key that is given later has nothing that its policy can be written from before."
  }
}

# The bucket that was there before, and its one notification document, belong to others.
run "existing_bucket_is_untouched" {
  command = plan

  assert {
    condition     = length(aws_s3_bucket.dags) == 0 && length(aws_s3_bucket_policy.dags) == 0 && length(aws_s3_bucket_lifecycle_configuration.dags) == 0 && length(aws_s3_bucket_versioning.dags) == 0
    error_message = "Something of the existing bucket is managed."
  }

  assert {
    condition     = length(aws_s3_bucket_notification.managed) == 0
    error_message = "The notification document of the existing bucket would be replaced."
  }

  assert {
    condition     = keys(data.aws_s3_bucket.existing) == ["acme-dags"]
    error_message = "The bucket's region is not looked at."
  }

  assert {
    condition     = keys(output.connect_bucket_commands) == ["acme-dags"] && strcontains(output.connect_bucket_commands["acme-dags"], ".EventBridgeConfiguration = {}")
    error_message = "There is no command that connects the bucket."
  }

  # As after trigger = "notification": S3 checks every entry at each write, also those of a queue that will be gone.
  assert {
    condition     = strcontains(output.connect_bucket_commands["acme-dags"], "map(select(.QueueArn != \"arn:aws:sqs:eu-west-1:123456789012:dagbucket\"))")
    error_message = "Entries for the queue stay where EventBridge tells everything already."
  }

  assert {
    condition = keys(output.disconnect_bucket_commands) == ["acme-dags"] && (
      strcontains(output.disconnect_bucket_commands["acme-dags"], "map(select(.QueueArn != \"arn:aws:sqs:eu-west-1:123456789012:dagbucket\"))") &&
      !strcontains(output.disconnect_bucket_commands["acme-dags"], "EventBridgeConfiguration")
    )
    error_message = "The command that disconnects the bucket does not remove our entries, or turns EventBridge off for others."
  }

  assert {
    condition     = length(output.other_account_bucket_policies) == 0 && length(output.created_buckets) == 0
    error_message = "A bucket of another account, or a created one, is out of place."
  }
}

run "secret" {
  command = plan

  assert {
    condition     = aws_secretsmanager_secret.token[0].name_prefix == "dagbucket/astro-api-token-" && aws_secretsmanager_secret.token[0].kms_key_id == null
    error_message = "The token's secret is not created, or under a name that stays blocked when it is deleted."
  }

  assert {
    condition     = strcontains(output.fill_token_command, "put-secret-value") && strcontains(output.fill_token_command, output.token_secret_arn)
    error_message = "There is no command that fills the secret."
  }
}

run "alarms" {
  command = plan

  assert {
    condition     = keys(aws_cloudwatch_metric_alarm.this) == ["dead-letters", "errors", "failed-runs", "oldest-message"] && keys(aws_cloudwatch_metric_alarm.route) == ["prod"]
    error_message = "The alarms are others."
  }

  assert {
    condition = alltrue([for a in concat(values(aws_cloudwatch_metric_alarm.this), values(aws_cloudwatch_metric_alarm.route)) :
      a.alarm_actions == toset([aws_sns_topic.alarms[0].arn]) && a.ok_actions == a.alarm_actions
    ])
    error_message = "An alarm tells nobody."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["dead-letters"].dimensions == tomap({ QueueName = "dagbucket-dead-letters" }) && aws_cloudwatch_metric_alarm.this["dead-letters"].threshold == 0
    error_message = "The first dead letter raises no alarm."
  }

  assert {
    condition     = { for name, a in aws_cloudwatch_metric_alarm.this : name => a.treat_missing_data if a.treat_missing_data != "notBreaching" } == { dead-letters = "ignore" }
    error_message = "SQS stops to measure an untouched queue: the alarm would end although the dead letters are there."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["failed-runs"].namespace == "dagbucket" && aws_cloudwatch_metric_alarm.this["failed-runs"].datapoints_to_alarm == 2
    error_message = "One failed run that passes when repeated would raise an alarm."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["oldest-message"].threshold == 1800 + 2 * 300
    error_message = "A message that waits for its second try would raise an alarm."
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.route["prod"].dimensions == tomap({ function = "dagbucket", route = "prod" }) && aws_cloudwatch_metric_alarm.route["prod"].period == 86400 &&
      aws_cloudwatch_metric_alarm.route["prod"].treat_missing_data == "breaching" && aws_cloudwatch_metric_alarm.route["prod"].comparison_operator == "LessThanThreshold"
    )
    error_message = "A route that falls silent raises no alarm."
  }

  assert {
    condition     = alltrue([for a in values(aws_cloudwatch_metric_alarm.this) : a.period * a.evaluation_periods <= (a.period < 3600 ? 86400 : 604800)])
    error_message = "CloudWatch takes no alarm that looks back as far."
  }

  assert {
    condition     = length(aws_sns_topic_subscription.email) == 0 && jsondecode(aws_sns_topic_policy.alarms[0].policy).Statement[0].Condition.StringEquals == { "aws:SourceAccount" = "123456789012" }
    error_message = "Others may publish to the topic, or somebody is subscribed."
  }

  assert {
    condition     = length(jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets) == 11
    error_message = "The dashboard lacks something."
  }

  assert {
    condition = (
      length(distinct([for w in jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets : "${w.x} ${w.y}"])) == 11 &&
      [for w in jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets : w.y if w.type == "log"] == [24]
    )
    error_message = "Two widgets of the dashboard lie over each other."
  }
}
