# The role's policy, whole. internal/bucket/s3bucket/permissions.go has the calls to S3.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  zip_file = "tests/function.zip"
  routes = [
    { name = "prod", sources = [{ url = "s3://acme-dags/dags/" }, { url = "s3://acme-dags/dags/ml/", mount = "x" }, { url = "s3://ml-team/dags/", mount = "ml" }], deployment = "d1" },
    { name = "dev", sources = [{ url = "s3://acme-dev/" }], deployment = "d2" },
  ]
}

run "statements" {
  command = plan

  assert {
    condition = jsondecode(aws_iam_role_policy.function.policy).Statement == [
      { Sid = "ListSources1", Effect = "Allow", Action = "s3:ListBucket", Resource = ["arn:aws:s3:::acme-dev"], Condition = { StringLike = { "s3:prefix" = ["*"] } } },
      { Sid = "ReadSources1", Effect = "Allow", Action = "s3:GetObject", Resource = ["arn:aws:s3:::acme-dev/*"] },
      { Sid = "ListSources2", Effect = "Allow", Action = "s3:ListBucket", Resource = ["arn:aws:s3:::acme-dags", "arn:aws:s3:::ml-team"], Condition = { StringLike = { "s3:prefix" = ["dags/*"] } } },
      { Sid = "ReadSources2", Effect = "Allow", Action = "s3:GetObject", Resource = ["arn:aws:s3:::acme-dags/dags/*", "arn:aws:s3:::ml-team/dags/*"] },
      { Sid = "ListState", Effect = "Allow", Action = ["s3:ListBucket", "s3:ListBucketMultipartUploads"], Resource = "arn:aws:s3:::dagbucket-state-123456789012-eu-west-1" },
      {
        Sid      = "KeepState", Effect = "Allow"
        Action   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
        Resource = ["arn:aws:s3:::dagbucket-state-123456789012-eu-west-1/prod/*", "arn:aws:s3:::dagbucket-state-123456789012-eu-west-1/dev/*"]
      },
      { Sid = "ReadConfiguration", Effect = "Allow", Action = "s3:GetObject", Resource = "arn:aws:s3:::dagbucket-state-123456789012-eu-west-1/dagbucket.yaml" },
      { Sid = "TakeEvents", Effect = "Allow", Action = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"], Resource = "arn:aws:sqs:eu-west-1:123456789012:dagbucket" },
      { Sid = "WriteLogs", Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/dagbucket:*" },
      { Sid = "ReadSecrets", Effect = "Allow", Action = "secretsmanager:GetSecretValue", Resource = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:dagbucket/astro-api-token-20261125103439000000000001-AbCdEf"] },
    ]
    error_message = "The role may do more or less than the code does."
  }

  assert {
    condition     = alltrue([for s in jsondecode(aws_iam_role_policy.function.policy).Statement : can(regex("^[A-Za-z0-9]+$", s.Sid))])
    error_message = "IAM takes letters and digits only in a Sid."
  }

  assert {
    condition     = jsondecode(aws_iam_role.function.assume_role_policy).Statement[0].Principal == { Service = "lambda.amazonaws.com" }
    error_message = "Others than Lambda may take the role."
  }

  assert {
    condition     = keys(aws_cloudwatch_event_rule.objects) == ["acme-dags/1", "acme-dev/1", "ml-team/1"] && jsondecode(aws_cloudwatch_event_rule.objects["acme-dags/1"].event_pattern).detail.object.key == [{ prefix = "dags/" }]
    error_message = "A prefix inside another one brings events twice."
  }
}

run "notify_and_status" {
  command = plan

  variables {
    notify_kms_key_arns = ["arn:aws:kms:eu-central-1:123456789012:key/1", "arn:aws:kms:eu-west-1:123456789012:key/2"]
    status_kms_key_arns = ["arn:aws:kms:eu-west-1:123456789012:key/3"]
    token_kms_key_arns  = ["arn:aws:kms:eu-west-1:123456789012:key/4"]
    buckets             = { acme-pages = { create = true, kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/5" }, acme-dev = { kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/6" } }
    routes = [
      {
        name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "d1", status = "s3://acme-pages/prod/", import_errors = true
        notify = [
          "sns:arn:aws:sns:eu-central-1:123456789012:dags",
          "webhook:https://hooks.example.com/x",
          "webhook:aws-sm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:hook-AbCdEf#url",
          jsonencode({ to = "webhook:https://hooks.example.com/y", secret = "aws-sm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:hook-AbCdEf#key" }),
        ]
      },
      {
        name   = "dev", sources = [{ url = "s3://acme-dev/dags/" }], deployment = "d2", status = "s3://acme-status/"
        notify = ["slack:aws-ssm:/slack/dags", "sns:arn:aws:sns:eu-central-1:123456789012:dags", jsonencode({ to = "sns:arn:aws:sns:eu-west-1:123456789012:dags.fifo", events = ["failed"] })]
      },
    ]
  }

  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.function.policy).Statement : s if contains(["WriteStatus", "Notify", "ReadSecrets", "ReadParameters"], s.Sid)] == [
      { Sid = "WriteStatus", Effect = "Allow", Action = ["s3:AbortMultipartUpload", "s3:PutObject"], Resource = ["arn:aws:s3:::acme-pages/prod/*", "arn:aws:s3:::acme-status/*"] },
      { Sid = "Notify", Effect = "Allow", Action = "sns:Publish", Resource = ["arn:aws:sns:eu-central-1:123456789012:dags", "arn:aws:sns:eu-west-1:123456789012:dags.fifo"] },
      {
        Sid      = "ReadSecrets", Effect = "Allow", Action = "secretsmanager:GetSecretValue"
        Resource = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:dagbucket/astro-api-token-20261125103439000000000001-AbCdEf", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:hook-AbCdEf"]
      },
      { Sid = "ReadParameters", Effect = "Allow", Action = "ssm:GetParameter", Resource = ["arn:aws:ssm:eu-west-1:123456789012:parameter/slack/dags"] },
    ]
    error_message = "The role may tell somebody else, write elsewhere, or read another secret; or it may not do what the routes ask for."
  }

  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.function.policy).Statement : [s.Sid, s.Action, s.Resource, s.Condition.StringEquals["kms:ViaService"]] if can(s.Condition.StringEquals["kms:ViaService"])] == [
      ["SourceKeys", ["kms:Decrypt"], ["arn:aws:kms:eu-west-1:123456789012:key/6"], "s3.eu-west-1.amazonaws.com"],
      ["TokenKeys", ["kms:Decrypt"], ["arn:aws:kms:eu-west-1:123456789012:key/4"], ["secretsmanager.eu-west-1.amazonaws.com", "ssm.eu-west-1.amazonaws.com"]],
      ["TopicKeys", ["kms:Decrypt", "kms:GenerateDataKey"], ["arn:aws:kms:eu-central-1:123456789012:key/1", "arn:aws:kms:eu-west-1:123456789012:key/2"], ["sns.eu-central-1.amazonaws.com", "sns.eu-west-1.amazonaws.com"]],
      ["StatusKeys", ["kms:Decrypt", "kms:GenerateDataKey"], ["arn:aws:kms:eu-west-1:123456789012:key/3", "arn:aws:kms:eu-west-1:123456789012:key/5"], "s3.eu-west-1.amazonaws.com"],
    ]
    error_message = "A key may be used for more or less than what it encrypts."
  }

  assert {
    condition     = yamldecode(aws_s3_object.config.content).routes[1].notify[2] == { to = "sns:arn:aws:sns:eu-west-1:123456789012:dags.fifo", events = ["failed"] } && yamldecode(aws_s3_object.config.content).routes[0].import_errors
    error_message = "The configuration file lacks what the routes say."
  }
}

# An account has them once, in whatever region they were made.
run "names_of_the_whole_account" {
  command = plan

  assert {
    condition     = aws_iam_role.function.name == "dagbucket-eu-west-1"
    error_message = "Two regions of an account would have a role of the same name."
  }

  assert {
    condition     = aws_cloudwatch_dashboard.this[0].dashboard_name == "dagbucket-eu-west-1" && endswith(output.dashboard_url, "#dashboards/dashboard/dagbucket-eu-west-1")
    error_message = "Two regions of an account would overwrite each other's dashboard, or its address is wrong."
  }
}

run "hundred_routes" {
  command = plan

  variables {
    routes = [for i in range(100) : {
      name       = format("team-%03d", i)
      sources    = [{ url = format("s3://acme-dags/team-%03d/", i) }]
      deployment = format("clmh57jtm000008lb58fe2%03d", i)
    }]
  }

  assert {
    condition     = length(aws_iam_role_policy.function.policy) <= 10240
    error_message = "The policy has ${length(aws_iam_role_policy.function.policy)} characters."
  }

  assert {
    condition     = length(aws_cloudwatch_event_rule.objects) == 10 && alltrue([for r in values(aws_cloudwatch_event_rule.objects) : length(r.event_pattern) <= 2048])
    error_message = "A pattern is longer than EventBridge takes, or there are more rules than needed."
  }

  assert {
    condition     = length(flatten([for r in values(aws_cloudwatch_event_rule.objects) : jsondecode(r.event_pattern).detail.object.key])) == 100
    error_message = "A prefix has no rule."
  }

  assert {
    condition     = one(aws_lambda_event_source_mapping.queue.scaling_config).maximum_concurrency == 100
    error_message = "Not every route can run at once."
  }

  assert {
    condition     = one([for s in jsondecode(aws_iam_role_policy.function.policy).Statement : s.Resource if s.Sid == "KeepState"]) == ["arn:aws:s3:::dagbucket-state-123456789012-eu-west-1/*/*"]
    error_message = "The configuration file is not out of reach."
  }

  assert {
    condition     = length(yamldecode(aws_s3_object.config.content).routes) == 100 && length(aws_cloudwatch_metric_alarm.route) == 100
    error_message = "A route is lost."
  }

  assert {
    condition     = length(aws_sqs_queue_policy.events.policy) <= 8192
    error_message = "The queue's policy is longer than SQS takes."
  }
}

run "hundred_tokens_in_one_secret" {
  command = plan

  variables {
    routes = [for i in range(100) : {
      name       = format("team-%03d", i)
      sources    = [{ url = format("s3://acme-dags/team-%03d/", i) }]
      deployment = format("clmh57jtm000008lb58fe2%03d", i)
      token      = format("aws-sm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:astro-AbCdEf#team-%03d", i)
    }]
  }

  assert {
    condition     = one([for s in jsondecode(aws_iam_role_policy.function.policy).Statement : s.Resource if s.Sid == "ReadSecrets"]) == ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:astro-AbCdEf"]
    error_message = "One secret should be enough."
  }

  assert {
    condition     = length(aws_secretsmanager_secret.token) == 0
    error_message = "A secret is created that no route reads."
  }
}

run "more_routes_than_lambda_runs" {
  command = plan

  variables {
    alarms = false
    routes = [for i in range(1001) : { name = "r${i}", sources = [{ url = "s3://acme-dags/" }], deployment = "d${i}" }]
  }

  assert {
    condition     = one(aws_lambda_event_source_mapping.queue.scaling_config).maximum_concurrency == 1000
    error_message = "Lambda takes no concurrency over 1000."
  }
}

run "longest_names" {
  command = plan

  variables {
    name = "a23456789-123456789-123456789"
    routes = [
      { name = format("r%062d", 1), sources = [{ url = "s3://b23456789.123456789.123456789.123456789.123456789.123456789.12/${format("%0900d", 1)}/" }], deployment = "d1" },
      { name = format("r%062d", 2), sources = [{ url = "s3://b23456789.123456789.123456789.123456789.123456789.123456789.12/${format("%0900d", 2)}/" }], deployment = "d2" },
      { name = format("r%062d", 3), sources = [{ url = "s3://b23456789.123456789.123456789.123456789.123456789.123456789.13/" }], deployment = "d3" },
    ]
  }

  assert {
    condition = alltrue([for n in concat([aws_cloudwatch_event_rule.reconcile.name], values(aws_cloudwatch_event_rule.objects)[*].name) :
      length(n) <= 64 && can(regex("^[.A-Za-z0-9_-]+$", n))
    ])
    error_message = "A rule's name is longer than 64 characters, or has others than EventBridge takes."
  }

  assert {
    condition     = length(distinct(values(aws_cloudwatch_event_rule.objects)[*].name)) == 3
    error_message = "Buckets with the same beginning have rules of the same name."
  }

  assert {
    condition     = alltrue([for r in values(aws_cloudwatch_event_rule.objects) : length(r.event_pattern) <= 2048])
    error_message = "A pattern is longer than EventBridge takes."
  }

  assert {
    condition     = length(aws_s3_bucket.state.bucket) <= 63 && length(aws_iam_role.function.name) <= 64 - length("ap-southeast-99") + length("eu-west-1") && length(aws_lambda_function.this.function_name) <= 64 && length(aws_sqs_queue.dead_letters.name) <= 80
    error_message = "A name is longer than AWS takes."
  }

  assert {
    condition     = alltrue([for a in values(aws_cloudwatch_metric_alarm.route) : length(a.alarm_name) <= 255])
    error_message = "An alarm's name is longer than CloudWatch takes."
  }
}
