# Every input that changes something, once.

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

run "whole_configuration" {
  command = plan

  variables {
    token_secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:astro-AbCdEf#token"
    timeout      = 420
    routes = [
      {
        name             = "prod"
        sources          = [{ url = "s3://acme-dags/dags/", syntax = "hold" }, { url = "s3://ml-team/", mount = "ml" }]
        deployment       = "clmh57jtm000008lb58fe2wmv"
        organization     = "clmg78a9d000008l7ek2m1a2b"
        quiet_period     = "1m30s"
        max_wait         = "5m"
        syntax           = "warn"
        guard            = { allow_empty = false, max_removed_percent = 50, max_removed_files = 0 }
        limits           = { max_files = 100, max_bytes = "2GiB" }
        replace_existing = true
        on_drift         = "report"
        base_dir         = ""
        keep_bundles     = 5
        status           = "s3://acme-status/prod/"
        import_errors    = true
        notify = [
          "sns:arn:aws:sns:eu-west-1:123456789012:dags",
          jsonencode({ to = "webhook:https://hooks.example.com/dags?key=1", secret = "aws-ssm:/hooks/key", format = "json", events = ["held", "failed"] }),
        ]
      },
      {
        name       = "dev"
        sources    = [{ url = "s3://acme-dags/dev/" }]
        deployment = "clmh57jtm000008lb58fe2dev"
        token      = "aws-ssm:/astro/dev"
        limits     = { max_bytes = 1048576 }
      },
    ]
  }

  assert {
    condition = yamldecode(aws_s3_object.config.content).routes[0] == {
      name             = "prod"
      sources          = [{ url = "s3://acme-dags/dags/", syntax = "hold" }, { url = "s3://ml-team/", mount = "ml" }]
      deployment       = "clmh57jtm000008lb58fe2wmv"
      organization     = "clmg78a9d000008l7ek2m1a2b"
      token            = "aws-sm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:astro-AbCdEf#token"
      quiet_period     = "1m30s"
      max_wait         = "5m"
      syntax           = "warn"
      guard            = { allow_empty = false, max_removed_percent = 50, max_removed_files = 0 }
      limits           = { max_files = 100, max_bytes = "2GiB" }
      replace_existing = true
      on_drift         = "report"
      base_dir         = ""
      keep_bundles     = 5
      status           = "s3://acme-status/prod/"
      import_errors    = true
      notify = [
        "sns:arn:aws:sns:eu-west-1:123456789012:dags",
        { to = "webhook:https://hooks.example.com/dags?key=1", secret = "aws-ssm:/hooks/key", format = "json", events = ["held", "failed"] },
      ]
    }
    error_message = "A key of the configuration is lost or changed."
  }

  assert {
    condition     = yamldecode(aws_s3_object.config.content).routes[1].limits == { max_bytes = 1048576 } && yamldecode(aws_s3_object.config.content).routes[1].token == "aws-ssm:/astro/dev"
    error_message = "A number became text, or a route's own token is lost."
  }

  assert {
    condition     = length(aws_secretsmanager_secret.token) == 0 && output.fill_token_command == null
    error_message = "A secret is created beside the existing one."
  }

  assert {
    condition = alltrue([
      one([for s in jsondecode(aws_iam_role_policy.function.policy).Statement : s.Resource if s.Sid == "ReadSecrets"]) == ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:astro-AbCdEf"],
      one([for s in jsondecode(aws_iam_role_policy.function.policy).Statement : s.Resource if s.Sid == "ReadParameters"]) == ["arn:aws:ssm:eu-west-1:123456789012:parameter/astro/dev", "arn:aws:ssm:eu-west-1:123456789012:parameter/hooks/key"],
    ])
    error_message = "The role may read other secrets than those of the routes."
  }

  assert {
    condition     = !can(jsondecode(aws_cloudwatch_event_rule.objects["ml-team/1"].event_pattern).detail.object)
    error_message = "A source of a whole bucket has a filter."
  }

  assert {
    condition     = aws_sqs_queue.events.visibility_timeout_seconds == 2520
    error_message = "The visibility time-out does not follow the function's."
  }
}

run "notification" {
  command = plan

  variables {
    trigger = "notification"
    routes = [
      { name = "a", sources = [{ url = "s3://acme-dags/dags/" }, { url = "s3://acme-dags/dags/ml/", mount = "ml" }], deployment = "a" },
      { name = "b", sources = [{ url = "s3://acme-dags/b's/" }], deployment = "b" },
    ]
  }

  assert {
    condition     = length(aws_cloudwatch_event_rule.objects) == 0 && length(aws_s3_bucket_notification.managed) == 0
    error_message = "EventBridge rules, or a document that replaces the one that is there."
  }

  assert {
    condition = one([for s in jsondecode(aws_sqs_queue_policy.events.policy).Statement : s.Condition if s.Sid == "Buckets"]) == {
      ArnEquals    = { "aws:SourceArn" = ["arn:aws:s3:::acme-dags"] }
      StringEquals = { "aws:SourceAccount" = ["123456789012"] }
    }
    error_message = "Others than this bucket of this account may send to the queue."
  }

  assert {
    condition     = length(regexall("\"Name\":\"prefix\"", output.connect_bucket_commands["acme-dags"])) == 2 && strcontains(output.connect_bucket_commands["acme-dags"], "b'\\''s/")
    error_message = "The prefixes overlap, which S3 refuses, or are not quoted for the shell."
  }

  assert {
    condition     = strcontains(output.disconnect_bucket_commands["acme-dags"], "map(select(.QueueArn !=") && !strcontains(output.disconnect_bucket_commands["acme-dags"], "$ours")
    error_message = "The command that disconnects the bucket leaves entries, or adds some."
  }
}

run "created_bucket" {
  command = plan

  variables {
    buckets = { acme-dags = { create = true, noncurrent_days = 90 } }
    tags    = { team = "data" }
  }

  assert {
    condition     = aws_s3_bucket.dags["acme-dags"].bucket == "acme-dags" && aws_s3_bucket.dags["acme-dags"].force_destroy == false && aws_s3_bucket.dags["acme-dags"].tags == tomap({ team = "data" })
    error_message = "The bucket is not created as asked for."
  }

  assert {
    condition = (
      aws_s3_bucket_public_access_block.dags["acme-dags"].block_public_acls && aws_s3_bucket_public_access_block.dags["acme-dags"].block_public_policy &&
      aws_s3_bucket_public_access_block.dags["acme-dags"].ignore_public_acls && aws_s3_bucket_public_access_block.dags["acme-dags"].restrict_public_buckets
    )
    error_message = "The created bucket can be made public."
  }

  assert {
    condition = (
      one(one(aws_s3_bucket_server_side_encryption_configuration.dags["acme-dags"].rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256" &&
      one(aws_s3_bucket_versioning.dags["acme-dags"].versioning_configuration).status == "Enabled" &&
      one(aws_s3_bucket_ownership_controls.dags["acme-dags"].rule).object_ownership == "BucketOwnerEnforced"
    )
    error_message = "The created bucket is not encrypted, has no versions, or has ACLs."
  }

  assert {
    condition     = jsondecode(aws_s3_bucket_policy.dags["acme-dags"].policy).Statement[0].Resource == ["arn:aws:s3:::acme-dags", "arn:aws:s3:::acme-dags/*"]
    error_message = "The created bucket can be read without TLS."
  }

  assert {
    condition = (
      one(one([for r in aws_s3_bucket_lifecycle_configuration.dags["acme-dags"].rule : r if r.id == "old-versions"]).noncurrent_version_expiration).noncurrent_days == 90 &&
      one([for r in aws_s3_bucket_lifecycle_configuration.dags["acme-dags"].rule : r if r.id == "delete-markers"]).status == "Enabled"
    )
    error_message = "Old versions or delete markers stay."
  }

  assert {
    condition     = aws_s3_bucket_notification.managed["acme-dags"].eventbridge == true && length(aws_s3_bucket_notification.managed["acme-dags"].queue) == 0
    error_message = "The created bucket is not connected."
  }

  assert {
    condition     = length(data.aws_s3_bucket.existing) == 0 && length(output.connect_bucket_commands) + length(output.disconnect_bucket_commands) == 0
    error_message = "A bucket that is not there yet is looked at, or is to be connected by hand."
  }
}

run "created_bucket_by_notification" {
  command = plan

  variables {
    trigger = "notification"
    buckets = { acme-dags = { create = true, expire_delete_markers = false } }
  }

  assert {
    condition = (
      one(aws_s3_bucket_notification.managed["acme-dags"].queue).filter_prefix == "dags/" &&
      one(aws_s3_bucket_notification.managed["acme-dags"].queue).events == toset(["s3:LifecycleExpiration:*", "s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectRestore:Completed"])
    )
    error_message = "Uploads or deletions are not told."
  }

  assert {
    condition     = one([for r in aws_s3_bucket_lifecycle_configuration.dags["acme-dags"].rule : r if r.id == "delete-markers"]).status == "Disabled"
    error_message = "Delete markers go although they should stay."
  }
}

# Its last route is gone, or not there yet: the bucket is kept as it was, and nobody reads it.
run "created_bucket_without_a_route" {
  command = plan

  variables {
    create_kms_key = true
    buckets = {
      acme-kept = { create = true }
      acme-mute = { create = true, manage_bucket_notification = false }
    }
  }

  assert {
    condition = alltrue([for names in [
      keys(aws_s3_bucket.dags), keys(aws_s3_bucket_policy.dags), keys(aws_s3_bucket_public_access_block.dags), keys(aws_s3_bucket_versioning.dags),
      keys(aws_s3_bucket_ownership_controls.dags), keys(aws_s3_bucket_lifecycle_configuration.dags), keys(aws_s3_bucket_server_side_encryption_configuration.dags),
    ] : names == ["acme-kept", "acme-mute"]])
    error_message = "A bucket, or what protects it, goes with its last route."
  }

  assert {
    condition     = keys(aws_s3_bucket_notification.managed) == ["acme-kept"] && keys(output.connect_bucket_commands) == ["acme-dags"]
    error_message = "The document of the bucket is changed, or the bucket is to be connected."
  }

  assert {
    condition     = keys(aws_cloudwatch_event_rule.objects) == ["acme-dags/1"] && !strcontains(aws_iam_role_policy.function.policy, "acme-kept") && !strcontains(aws_iam_role_policy.function.policy, "SourceKeys")
    error_message = "Rules or rights are left that no route needs."
  }
}

run "created_bucket_without_a_route_by_notification" {
  command = plan

  variables {
    trigger = "notification"
    buckets = { acme-kept = { create = true } }
  }

  assert {
    condition     = length(aws_s3_bucket_notification.managed["acme-kept"].queue) == 0 && aws_s3_bucket_notification.managed["acme-kept"].eventbridge == false
    error_message = "The bucket tells of changes that no route reads."
  }

  assert {
    condition     = !strcontains(aws_sqs_queue_policy.events.policy, "acme-kept")
    error_message = "The bucket may send to the queue although no route reads it."
  }
}

# Such settings are in no plan: the text of the configuration must do.
run "what_destroy_must_not_take" {
  command = plan

  assert {
    condition     = aws_s3_bucket.state.force_destroy == false && length(regexall("resource \"aws_s3_bucket\" \"(state|dags)\" \\{\n(  .*\n|\n)*  depends_on = \\[aws_kms_key.this\\]\n\\}", file("storage.tf"))) == 2
    error_message = "The key would be deleted before buckets that are not empty, and so stay."
  }

  assert {
    condition     = alltrue([for b in aws_s3_bucket.dags : b.force_destroy == false]) && length(regexall("resource \"aws_s3_bucket\" \"dags\" \\{\n(  .*\n|\n)*    prevent_destroy = true\n  \\}\n(  .*\n|\n)*\\}", file("storage.tf"))) == 1
    error_message = "A plan may destroy a bucket with the files of users."
  }
}

run "managed_notification_of_an_existing_bucket" {
  command = plan

  variables {
    buckets = { acme-dags = { manage_bucket_notification = true } }
  }

  assert {
    condition     = keys(aws_s3_bucket_notification.managed) == ["acme-dags"] && length(aws_s3_bucket.dags) == 0
    error_message = "Only the document should be managed."
  }
}

run "created_bucket_with_a_document_of_its_own" {
  command = plan

  variables {
    buckets = { acme-dags = { create = true, manage_bucket_notification = false } }
  }

  assert {
    condition     = length(aws_s3_bucket_notification.managed) == 0 && keys(output.connect_bucket_commands) == ["acme-dags"]
    error_message = "The document is managed although it should not be."
  }
}

run "other_account" {
  command = plan

  variables {
    buckets = { acme-dags = { account_id = "210987654321", kms_key_arn = "arn:aws:kms:eu-west-1:210987654321:key/1234abcd-12ab-34cd-56ef-1234567890ab" } }
  }

  assert {
    condition     = length(aws_cloudwatch_event_rule.objects) == 0 && length(data.aws_s3_bucket.existing) == 0 && length(aws_s3_bucket_notification.managed) == 0
    error_message = "A bucket of another account is treated as one of ours."
  }

  assert {
    condition = one([for s in jsondecode(aws_sqs_queue_policy.events.policy).Statement : s.Condition if s.Sid == "Buckets"]) == {
      ArnEquals    = { "aws:SourceArn" = ["arn:aws:s3:::acme-dags"] }
      StringEquals = { "aws:SourceAccount" = ["210987654321"] }
    }
    error_message = "The other account's bucket may not send, or others may."
  }

  assert {
    condition = jsondecode(output.other_account_bucket_policies["acme-dags"]) == {
      bucket_policy_statements = [
        {
          Sid       = "DagbucketList", Effect = "Allow", Principal = { AWS = "arn:aws:iam::123456789012:role/dagbucket-eu-west-1" }
          Action    = "s3:ListBucket", Resource = "arn:aws:s3:::acme-dags"
          Condition = { StringLike = { "s3:prefix" = ["dags/*"] } }
        },
        {
          Sid    = "DagbucketRead", Effect = "Allow", Principal = { AWS = "arn:aws:iam::123456789012:role/dagbucket-eu-west-1" }
          Action = "s3:GetObject", Resource = ["arn:aws:s3:::acme-dags/dags/*"]
        },
      ]
      key_policy_statements = [{
        Sid       = "DagbucketDecrypt", Effect = "Allow", Principal = { AWS = "arn:aws:iam::123456789012:role/dagbucket-eu-west-1" }
        Action    = "kms:Decrypt", Resource = "*"
        Condition = { StringEquals = { "kms:ViaService" = "s3.eu-west-1.amazonaws.com" } }
      }]
    }
    error_message = "The other account is asked for more or less than reading."
  }

  assert {
    condition     = strcontains(output.connect_bucket_commands["acme-dags"], "--expected-bucket-owner 210987654321") && strcontains(output.connect_bucket_commands["acme-dags"], ".QueueConfigurations")
    error_message = "The other account has no command that connects its bucket."
  }
}

run "created_key" {
  command = plan

  variables {
    create_kms_key = true
    trigger        = "notification"
    buckets        = { acme-dags = { create = true } }
  }

  assert {
    condition     = aws_kms_key.this[0].enable_key_rotation == true && aws_kms_alias.this[0].name == "alias/dagbucket"
    error_message = "The key does not rotate, or has no alias."
  }

  assert {
    condition = alltrue([
      aws_sqs_queue.events.kms_master_key_id == aws_kms_key.this[0].arn,
      aws_sqs_queue.dead_letters.kms_master_key_id == aws_kms_key.this[0].arn,
      aws_sqs_queue.events.sqs_managed_sse_enabled != true,
      aws_cloudwatch_log_group.function.kms_key_id == aws_kms_key.this[0].arn,
      aws_secretsmanager_secret.token[0].kms_key_id == aws_kms_key.this[0].arn,
      aws_sns_topic.alarms[0].kms_master_key_id == aws_kms_key.this[0].arn,
      one(one(aws_s3_bucket_server_side_encryption_configuration.state.rule).apply_server_side_encryption_by_default).kms_master_key_id == aws_kms_key.this[0].arn,
      one(one(aws_s3_bucket_server_side_encryption_configuration.dags["acme-dags"].rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms",
      one(aws_s3_bucket_server_side_encryption_configuration.state.rule).bucket_key_enabled == true,
    ])
    error_message = "Something is not encrypted with the key."
  }

  assert {
    condition = jsondecode(aws_kms_key.this[0].policy).Statement[1] == {
      Sid       = "EventsIntoQueue", Effect = "Allow", Principal = { Service = ["events.amazonaws.com", "s3.amazonaws.com"] }
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"], Resource = "*"
      Condition = { StringEquals = { "kms:EncryptionContext:aws:sqs:arn" = "arn:aws:sqs:eu-west-1:123456789012:dagbucket" } }
    }
    error_message = "EventBridge and S3 cannot send to the encrypted queue, or can do more."
  }

  assert {
    condition = (
      jsondecode(aws_kms_key.this[0].policy).Statement[2].Principal == { Service = "logs.eu-west-1.amazonaws.com" } &&
      jsondecode(aws_kms_key.this[0].policy).Statement[2].Condition == { ArnEquals = { "kms:EncryptionContext:aws:logs:arn" = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/dagbucket" } }
    )
    error_message = "The log group cannot use the key, or another can."
  }

  assert {
    condition = jsondecode(aws_kms_key.this[0].policy).Statement[3].Condition == {
      ArnLike      = { "aws:SourceArn" = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:dagbucket-*" }
      StringEquals = { "aws:SourceAccount" = "123456789012" }
    }
    error_message = "Alarms cannot use the key, or others can."
  }

  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.function.policy).Statement : s if can(regex("Key", s.Sid))] == [
      {
        Sid       = "StateKey", Effect = "Allow", Action = ["kms:Decrypt", "kms:GenerateDataKey"], Resource = aws_kms_key.this[0].arn
        Condition = { StringEquals = { "kms:ViaService" = "s3.eu-west-1.amazonaws.com" } }
      },
      {
        Sid       = "QueueAndTokenKey", Effect = "Allow", Action = ["kms:Decrypt"], Resource = aws_kms_key.this[0].arn
        Condition = { StringEquals = { "kms:ViaService" = ["secretsmanager.eu-west-1.amazonaws.com", "sqs.eu-west-1.amazonaws.com"] } }
      },
      {
        Sid       = "SourceKeys", Effect = "Allow", Action = ["kms:Decrypt"], Resource = [aws_kms_key.this[0].arn]
        Condition = { StringEquals = { "kms:ViaService" = "s3.eu-west-1.amazonaws.com" } }
      },
    ]
    error_message = "The role may do more or less with the key."
  }

  assert {
    condition     = output.kms_key_policy_statements == null
    error_message = "The module wrote the key's policy itself."
  }
}

# Both triggers use the key: it may change without the key's policy.
run "created_key_with_eventbridge" {
  command = plan

  variables {
    create_kms_key = true
  }

  assert {
    condition     = jsondecode(aws_kms_key.this[0].policy).Statement[1].Principal == { Service = ["events.amazonaws.com", "s3.amazonaws.com"] }
    error_message = "With a changed trigger the events would be lost until the key's policy is changed too."
  }
}

run "former_keys" {
  command = plan

  variables {
    former_kms_key_arns = ["arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"]
  }

  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.function.policy).Statement : s if can(regex("Key", s.Sid))] == [{
      Sid       = "FormerKeys", Effect = "Allow", Action = ["kms:Decrypt"], Resource = ["arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"]
      Condition = { StringEquals = { "kms:ViaService" = ["s3.eu-west-1.amazonaws.com", "secretsmanager.eu-west-1.amazonaws.com", "sqs.eu-west-1.amazonaws.com"] } }
    }]
    error_message = "What was encrypted with the former key cannot be read any more, or the key can be used for more."
  }

  assert {
    condition     = aws_sqs_queue.events.kms_master_key_id == null && aws_secretsmanager_secret.token[0].kms_key_id == null
    error_message = "Something new is encrypted with the former key."
  }
}

run "given_keys" {
  command = plan

  variables {
    kms_key_arn        = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"
    token_secret       = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:astro-AbCdEf"
    token_kms_key_arns = ["arn:aws:kms:eu-central-1:123456789012:key/66666666-7777-8888-9999-000000000000"]
    buckets            = { acme-dags = { kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/mrk-aaaabbbbccccddddeeeeffff00001111" } }
    alarms             = false
  }

  assert {
    condition     = length(aws_kms_key.this) == 0 && aws_sqs_queue.events.kms_master_key_id == var.kms_key_arn
    error_message = "The given key is not used."
  }

  assert {
    condition     = [for s in jsondecode(output.kms_key_policy_statements) : s.Sid] == ["EventsIntoQueue", "Logs"]
    error_message = "The statements for the key's policy are not those that are needed without a topic."
  }

  assert {
    condition = (
      one([for s in jsondecode(aws_iam_role_policy.function.policy).Statement : s.Resource if s.Sid == "SourceKeys"]) == ["arn:aws:kms:eu-west-1:123456789012:key/mrk-aaaabbbbccccddddeeeeffff00001111"] &&
      one([for s in jsondecode(aws_iam_role_policy.function.policy).Statement : s.Condition if s.Sid == "TokenKeys"]) == {
        StringEquals = { "kms:ViaService" = ["secretsmanager.eu-central-1.amazonaws.com", "ssm.eu-central-1.amazonaws.com"] }
      }
    )
    error_message = "The keys of the bucket and of the token cannot be used, or not only through what they encrypt."
  }
}

run "function_settings" {
  command = plan

  variables {
    name                     = "dags"
    architecture             = "x86_64"
    memory_size              = 1024
    timeout                  = 900
    log_retention_days       = 365
    zip_file                 = null
    zip_s3                   = { bucket = "acme-code", key = "lambda-amd64.zip", object_version = "abc", sha256_base64 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" }
    vpc                      = { subnet_ids = ["subnet-0123456789abcdef0"], security_group_ids = ["sg-0123456789abcdef0"] }
    iam_path                 = "/service/"
    permissions_boundary_arn = "arn:aws:iam::123456789012:policy/boundary"
    astro_api_url            = "https://astro.example.com/v1"
    state_bucket_name        = "acme-dagbucket-state"
    tags                     = { team = "data" }
  }

  assert {
    condition = (
      aws_lambda_function.this.s3_bucket == "acme-code" && aws_lambda_function.this.s3_key == "lambda-amd64.zip" && aws_lambda_function.this.s3_object_version == "abc" &&
      aws_lambda_function.this.filename == null && aws_lambda_function.this.source_code_hash == var.zip_s3.sha256_base64
    )
    error_message = "The zip does not come from S3 with the hash that was given."
  }

  assert {
    condition = (
      aws_lambda_function.this.architectures == tolist(["x86_64"]) && aws_lambda_function.this.memory_size == 1024 && aws_lambda_function.this.timeout == 900 &&
      aws_cloudwatch_log_group.function.retention_in_days == 365 && aws_sqs_queue.events.visibility_timeout_seconds == 5400
    )
    error_message = "A setting of the function is lost."
  }

  assert {
    condition     = one(aws_lambda_function.this.vpc_config).subnet_ids == toset(["subnet-0123456789abcdef0"]) && one(aws_lambda_function.this.vpc_config).security_group_ids == toset(["sg-0123456789abcdef0"])
    error_message = "The function is not in the VPC."
  }

  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.function.policy).Statement : [s.Sid, s.Effect] if can(regex("ec2:", jsonencode(s.Action)))] == [
      ["NetworkInterfaces", "Allow"], ["NotFromInside", "Deny"],
    ]
    error_message = "The rights for a VPC are not there, or the code inside may use them."
  }

  assert {
    condition     = aws_iam_role.function.path == "/service/" && aws_iam_role.function.permissions_boundary == "arn:aws:iam::123456789012:policy/boundary"
    error_message = "The role has no path or boundary."
  }

  assert {
    condition     = one(aws_lambda_function.this.environment).variables["ASTRO_API_URL"] == "https://astro.example.com/v1" && output.config_url == "s3://acme-dagbucket-state/dagbucket.yaml"
    error_message = "The API's address or the state bucket's name is lost."
  }

  assert {
    condition = alltrue([for t in [
      aws_lambda_function.this.tags, aws_lambda_event_source_mapping.queue.tags, aws_cloudwatch_log_group.function.tags, aws_secretsmanager_secret.token[0].tags,
      aws_sqs_queue.events.tags, aws_sqs_queue.dead_letters.tags, aws_cloudwatch_event_rule.reconcile.tags, aws_cloudwatch_event_rule.objects["acme-dags/1"].tags,
      aws_s3_bucket.state.tags, aws_iam_role.function.tags, aws_sns_topic.alarms[0].tags, aws_cloudwatch_metric_alarm.this["errors"].tags, aws_cloudwatch_metric_alarm.route["prod"].tags,
    ] : t == tomap({ team = "data" })])
    error_message = "Something has no tags."
  }
}

run "queue_settings" {
  command = plan

  variables {
    batch_size               = 10000
    batch_window             = 300
    max_concurrency          = 7
    queue_visibility_timeout = 3600
    reconcile_schedule       = "rate(1 hour)"
    check_buckets            = false
    oldest_message_seconds   = 7200
  }

  assert {
    condition = (
      aws_lambda_event_source_mapping.queue.batch_size == 10000 && aws_lambda_event_source_mapping.queue.maximum_batching_window_in_seconds == 300 &&
      one(aws_lambda_event_source_mapping.queue.scaling_config).maximum_concurrency == 7
    )
    error_message = "A setting of the mapping is lost."
  }

  assert {
    condition     = aws_sqs_queue.events.visibility_timeout_seconds == 3600 && aws_cloudwatch_event_rule.reconcile.schedule_expression == "rate(1 hour)" && aws_cloudwatch_metric_alarm.this["oldest-message"].threshold == 7200
    error_message = "A setting of the queue or the schedule is lost."
  }

  assert {
    condition     = length(data.aws_s3_bucket.existing) == 0
    error_message = "Buckets are looked at although they should not be."
  }
}

run "alarm_mails" {
  command = plan

  variables {
    alarm_emails    = ["dags@example.com"]
    alarm_per_route = false
    alarm_held      = true
    dashboard       = false
  }

  assert {
    condition     = aws_sns_topic_subscription.email["dags@example.com"].protocol == "email" && length(aws_cloudwatch_metric_alarm.route) == 0 && length(aws_cloudwatch_dashboard.this) == 0
    error_message = "Nobody gets mails, or a switch has no effect."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["held-runs"].metric_name == "held"
    error_message = "Held runs raise no alarm although they should."
  }
}

run "given_topic" {
  command = plan

  variables {
    alarm_topic_arn = "arn:aws:sns:eu-west-1:123456789012:ops"
  }

  assert {
    condition     = length(aws_sns_topic.alarms) == 0 && alltrue([for a in values(aws_cloudwatch_metric_alarm.this) : a.alarm_actions == toset(["arn:aws:sns:eu-west-1:123456789012:ops"])])
    error_message = "Alarms do not go to the given topic."
  }

  # It may be encrypted with the same key.
  assert {
    condition     = [for s in jsondecode(output.kms_key_policy_statements) : s.Sid] == ["EventsIntoQueue", "Logs", "AlarmsIntoTopic"]
    error_message = "Alarms cannot use the key of the given topic."
  }
}

run "no_alarms" {
  command = plan

  variables {
    alarms = false
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.this) + length(aws_cloudwatch_metric_alarm.route) + length(aws_sns_topic.alarms) == 0
    error_message = "There are alarms although there should be none."
  }
}
