# What AWS, or dagbucket itself, would refuse later is refused when planning.

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

run "name_with_capitals" {
  command = plan

  variables {
    name = "Dags"
  }

  expect_failures = [var.name]
}

run "name_too_long" {
  command = plan

  variables {
    name = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
  }

  expect_failures = [var.name]
}

run "name_ends_in_a_dash" {
  command = plan

  variables {
    name = "dags-"
  }

  expect_failures = [var.name]
}

run "name_that_s3_reserves" {
  command = plan

  variables {
    name = "xn--dags"
  }

  expect_failures = [var.name]
}

run "no_routes" {
  command = plan

  variables {
    routes = []
  }

  expect_failures = [var.routes]
}

run "route_name" {
  command = plan

  variables {
    routes = [{ name = "Prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv" }]
  }

  expect_failures = [var.routes]
}

run "two_routes_of_one_name" {
  command = plan

  variables {
    routes = [{ name = "a", sources = [{ url = "s3://acme-dags/a/" }], deployment = "d1" }, { name = "a", sources = [{ url = "s3://acme-dags/b/" }], deployment = "d2" }]
  }

  expect_failures = [var.routes]
}

run "two_routes_to_one_deployment" {
  command = plan

  variables {
    routes = [{ name = "a", sources = [{ url = "s3://acme-dags/a/" }], deployment = "d1" }, { name = "b", sources = [{ url = "s3://acme-dags/b/" }], deployment = "d1" }]
  }

  expect_failures = [var.routes]
}

run "no_sources" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [], deployment = "d" }]
  }

  expect_failures = [var.routes]
}

run "deployment_is_a_url" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "https://cloud.astronomer.io/ws/deployments/clmh57jtm" }]
  }

  expect_failures = [var.routes]
}

run "deployment_is_a_token" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhc3Ryb25vbWVyIn0.c2lnbmF0dXJl" }]
  }

  expect_failures = [var.routes]
}

run "organization" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", organization = "acme inc" }]
  }

  expect_failures = [var.routes]
}

run "source_of_google" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "gs://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv" }]
  }

  expect_failures = [var.routes]
}

run "source_is_a_path" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv" }]
  }

  expect_failures = [var.routes]
}

run "prefix_without_slash" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags" }], deployment = "clmh57jtm000008lb58fe2wmv" }]
  }

  expect_failures = [var.routes]
}

run "bucket_without_slash" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags" }], deployment = "clmh57jtm000008lb58fe2wmv" }]
  }

  expect_failures = [var.routes]
}

run "prefix_with_empty_segment" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags//dags/" }], deployment = "clmh57jtm000008lb58fe2wmv" }]
  }

  expect_failures = [var.routes]
}

run "prefix_with_pattern" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/team-*/" }], deployment = "clmh57jtm000008lb58fe2wmv" }]
  }

  expect_failures = [var.routes]
}

run "prefix_beyond_latin_1" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/датасеты/" }], deployment = "clmh57jtm000008lb58fe2wmv" }]
  }

  expect_failures = [var.routes]
}

run "prefix_with_a_control_character" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/a\u0085b/" }], deployment = "clmh57jtm000008lb58fe2wmv" }]
  }

  expect_failures = [var.routes]
}

run "same_source_twice" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/a/" }, { url = "s3://acme-dags/a/" }], deployment = "d" }]
  }

  expect_failures = [var.routes]
}

run "source_in_the_state_bucket" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://dagbucket-state-123456789012-eu-west-1/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv" }]
  }

  expect_failures = [var.routes]
}

run "source_in_the_named_state_bucket" {
  command = plan

  variables {
    routes            = [{ name = "prod", sources = [{ url = "s3://acme-state/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv" }]
    state_bucket_name = "acme-state"
  }

  expect_failures = [var.routes]
}

run "mount_absolute" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/", mount = "/ml" }], deployment = "clmh57jtm000008lb58fe2wmv" }]
  }

  expect_failures = [var.routes]
}

run "mount_parent" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/", mount = "a/../b" }], deployment = "clmh57jtm000008lb58fe2wmv" }]
  }

  expect_failures = [var.routes]
}

run "mount_empty_segment" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/", mount = "a//b" }], deployment = "clmh57jtm000008lb58fe2wmv" }]
  }

  expect_failures = [var.routes]
}

run "mount_backslash" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/", mount = "a\\b" }], deployment = "clmh57jtm000008lb58fe2wmv" }]
  }

  expect_failures = [var.routes]
}

run "mount_long" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/", mount = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" }], deployment = "clmh57jtm000008lb58fe2wmv" }]
  }

  expect_failures = [var.routes]
}

run "source_syntax" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/", syntax = "strict" }], deployment = "clmh57jtm000008lb58fe2wmv" }]
  }

  expect_failures = [var.routes]
}

run "quiet_period_without_unit" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", quiet_period = "10" }]
  }

  expect_failures = [var.routes]
}

run "max_wait_in_words" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", max_wait = "3 minutes" }]
  }

  expect_failures = [var.routes]
}

run "max_wait_under_quiet_period" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", quiet_period = "90s", max_wait = "1m29s" }]
  }

  expect_failures = [var.routes]
}

run "quiet_period_over_default_max_wait" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", quiet_period = "4m" }]
  }

  expect_failures = [var.routes]
}

run "syntax" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", syntax = "on" }]
  }

  expect_failures = [var.routes]
}

run "on_drift" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", on_drift = "fix" }]
  }

  expect_failures = [var.routes]
}

run "base_dir" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", base_dir = "plugins" }]
  }

  expect_failures = [var.routes]
}

run "percent" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", guard = { max_removed_percent = 101 } }]
  }

  expect_failures = [var.routes]
}

run "percent_of_half" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", guard = { max_removed_percent = 0.5 } }]
  }

  expect_failures = [var.routes]
}

run "keep_bundles" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", keep_bundles = -1 }]
  }

  expect_failures = [var.routes]
}

run "max_files" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", limits = { max_files = 1.5 } }]
  }

  expect_failures = [var.routes]
}

run "max_bytes" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", limits = { max_bytes = "2 gigabytes" } }]
  }

  expect_failures = [var.routes]
}

run "token_in_the_environment" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", token = "env:ASTRO_API_TOKEN" }]
  }

  expect_failures = [var.routes]
}

run "token_of_google" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", token = "gcp-sm:projects/p/secrets/s/versions/latest" }]
  }

  expect_failures = [var.routes]
}

run "token_itself" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", token = "eyJhbGciOiJSUzI1NiJ9" }]
  }

  expect_failures = [var.routes]
}

run "token_by_partial_arn" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", token = "aws-sm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:astro" }]
  }

  expect_failures = [var.routes]
}

run "status_in_a_source" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", status = "s3://acme-dags/dags/status/" }]
  }

  expect_failures = [var.routes]
}

run "status_without_slash" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", status = "s3://acme-status/prod" }]
  }

  expect_failures = [var.routes]
}

run "status_in_the_state_bucket" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", status = "s3://dagbucket-state-123456789012-eu-west-1/status/" }]
  }

  expect_failures = [var.routes]
}

run "status_twice" {
  command = plan

  variables {
    routes = [{ name = "a", sources = [{ url = "s3://acme-dags/a/" }], deployment = "d1", status = "s3://acme-status/" }, { name = "b", sources = [{ url = "s3://acme-dags/b/" }], deployment = "d2", status = "s3://acme-status/" }]
  }

  expect_failures = [var.routes]
}

run "notify" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", notify = ["mail:dags@example.com"] }]
  }

  expect_failures = [var.routes]
}

run "notify_the_other_cloud" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", notify = ["pubsub:projects/acme/topics/dags"] }]
  }

  expect_failures = [var.routes]
}

run "notify_by_part_of_an_arn" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", notify = ["sns:dags"] }]
  }

  expect_failures = [var.routes]
}

run "notify_in_the_clear" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", notify = ["webhook:http://hooks.example.com/x"] }]
  }

  expect_failures = [var.routes]
}

run "notify_the_environment" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", notify = ["slack:env:SLACK_WEBHOOK_URL"] }]
  }

  expect_failures = [var.routes]
}

run "notify_slack_itself" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", notify = ["slack:https://hooks.slack.com/services/x"] }]
  }

  expect_failures = [var.routes]
}

run "notify_by_broken_json" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", notify = ["{to: sns}"] }]
  }

  expect_failures = [var.routes]
}

run "notify_nobody" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", notify = [jsonencode({ events = ["failed"] })] }]
  }

  expect_failures = [var.routes]
}

run "notify_with_an_unknown_key" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", notify = [jsonencode({ to = "sns:arn:aws:sns:eu-west-1:123456789012:dags", when = "failed" })] }]
  }

  expect_failures = [var.routes]
}

run "notify_of_something_else" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", notify = [jsonencode({ to = "sns:arn:aws:sns:eu-west-1:123456789012:dags", events = ["everything"] })] }]
  }

  expect_failures = [var.routes]
}

run "notify_of_nothing" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", notify = [jsonencode({ to = "sns:arn:aws:sns:eu-west-1:123456789012:dags", events = [] })] }]
  }

  expect_failures = [var.routes]
}

run "notify_in_another_format" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", notify = [jsonencode({ to = "webhook:https://hooks.example.com/x", format = "xml" })] }]
  }

  expect_failures = [var.routes]
}

run "notify_a_topic_in_a_format" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", notify = [jsonencode({ to = "sns:arn:aws:sns:eu-west-1:123456789012:dags", format = "json" })] }]
  }

  expect_failures = [var.routes]
}

run "notify_signed_by_a_secret_itself" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", notify = [jsonencode({ to = "webhook:https://hooks.example.com/x", secret = "hunter2" })] }]
  }

  expect_failures = [var.routes]
}

run "notify_a_topic_signed" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", notify = [jsonencode({ to = "sns:arn:aws:sns:eu-west-1:123456789012:dags", secret = "aws-ssm:/key" })] }]
  }

  expect_failures = [var.routes]
}

run "notify_twice" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", notify = ["sns:arn:aws:sns:eu-west-1:123456789012:dags", jsonencode({ to = "sns:arn:aws:sns:eu-west-1:123456789012:dags", events = ["failed"] })] }]
  }

  expect_failures = [var.routes]
}

run "status_with_a_pattern" {
  command = plan

  variables {
    routes = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", status = "s3://acme-status/*/" }]
  }

  expect_failures = [var.routes]
}

run "notify_key_by_alias" {
  command = plan

  variables {
    notify_kms_key_arns = ["arn:aws:kms:eu-west-1:123456789012:alias/dags"]
  }

  expect_failures = [var.notify_kms_key_arns]
}

run "status_key_by_alias" {
  command = plan

  variables {
    status_kms_key_arns = ["alias/dags"]
  }

  expect_failures = [var.status_kms_key_arns]
}

run "bucket_of_no_route" {
  command = plan

  variables {
    buckets = { acme-other = { noncurrent_days = 60 } }
  }

  expect_failures = [var.buckets]
}

run "state_bucket_to_create" {
  command = plan

  variables {
    buckets = { dagbucket-state-123456789012-eu-west-1 = { create = true } }
  }

  expect_failures = [var.buckets]
}

run "created_bucket_with_dots" {
  command = plan

  variables {
    buckets = { "acme.dags" = { create = true } }
    routes  = [{ name = "prod", sources = [{ url = "s3://acme.dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv" }]
  }

  expect_failures = [var.buckets]
}

run "bucket_account" {
  command = plan

  variables {
    buckets = { acme-dags = { account_id = "1234" } }
  }

  expect_failures = [var.buckets]
}

run "created_in_another_account" {
  command = plan

  variables {
    buckets = { acme-dags = { create = true, account_id = "210987654321" } }
  }

  expect_failures = [var.buckets]
}

run "managed_in_another_account" {
  command = plan

  variables {
    buckets = { acme-dags = { manage_bucket_notification = true, account_id = "210987654321" } }
  }

  expect_failures = [var.buckets]
}

run "bucket_key_alias" {
  command = plan

  variables {
    buckets = { acme-dags = { kms_key_arn = "alias/dags" } }
  }

  expect_failures = [var.buckets]
}

run "noncurrent_days" {
  command = plan

  variables {
    buckets = { acme-dags = { create = true, noncurrent_days = 0 } }
  }

  expect_failures = [var.buckets]
}

run "token_secret_is_a_token" {
  command = plan

  variables {
    token_secret = "eyJhbGciOiJSUzI1NiJ9"
  }

  expect_failures = [var.token_secret]
}

run "token_secret_by_partial_arn" {
  command = plan

  variables {
    token_secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:astro"
  }

  expect_failures = [var.token_secret]
}

run "token_secret_given_and_created" {
  command = plan

  variables {
    create_token_secret = true
    token_secret        = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:astro-AbCdEf"
  }

  expect_failures = [var.create_token_secret]
}

run "token_secret_neither_given_nor_created" {
  command = plan

  variables {
    create_token_secret = false
  }

  expect_failures = [var.create_token_secret]
}

run "token_key_alias" {
  command = plan

  variables {
    token_kms_key_arns = ["alias/astro"]
  }

  expect_failures = [var.token_kms_key_arns]
}

run "api_without_tls" {
  command = plan

  variables {
    astro_api_url = "http://astro.example.com"
  }

  expect_failures = [var.astro_api_url]
}

run "trigger" {
  command = plan

  variables {
    trigger = "sns"
  }

  expect_failures = [var.trigger]
}

run "zip_that_is_not_there" {
  command = plan

  variables {
    zip_file = "tests/none.zip"
  }

  expect_failures = [var.zip_file]
}

run "two_zips" {
  command = plan

  variables {
    zip_s3 = { bucket = "b", key = "k", sha256_base64 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" }
  }

  expect_failures = [var.zip_file]
}

run "zip_hash_in_hex" {
  command = plan

  variables {
    zip_file = null
    zip_s3   = { bucket = "b", key = "k", sha256_base64 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" }
  }

  expect_failures = [var.zip_s3]
}

run "architecture" {
  command = plan

  variables {
    architecture = "amd64"
  }

  expect_failures = [var.architecture]
}

run "memory_too_small" {
  command = plan

  variables {
    memory_size = 256
  }

  expect_failures = [var.memory_size]
}

run "memory_too_large" {
  command = plan

  variables {
    memory_size = 10241
  }

  expect_failures = [var.memory_size]
}

run "timeout_too_long" {
  command = plan

  variables {
    timeout = 901
  }

  expect_failures = [var.timeout]
}

run "timeout_under_default_max_wait" {
  command = plan

  variables {
    timeout = 299
  }

  expect_failures = [var.timeout]
}

run "timeout_under_max_wait" {
  command = plan

  variables {
    routes  = [{ name = "prod", sources = [{ url = "s3://acme-dags/dags/" }], deployment = "clmh57jtm000008lb58fe2wmv", max_wait = "1h" }]
    timeout = 900
  }

  expect_failures = [var.timeout]
}

run "vpc_without_subnets" {
  command = plan

  variables {
    vpc = { subnet_ids = [], security_group_ids = ["sg-0123456789abcdef0"] }
  }

  expect_failures = [var.vpc]
}

run "vpc_with_names" {
  command = plan

  variables {
    vpc = { subnet_ids = ["private-a"], security_group_ids = ["sg-0123456789abcdef0"] }
  }

  expect_failures = [var.vpc]
}

run "iam_path" {
  command = plan

  variables {
    iam_path = "service"
  }

  expect_failures = [var.iam_path]
}

run "permissions_boundary" {
  command = plan

  variables {
    permissions_boundary_arn = "boundary"
  }

  expect_failures = [var.permissions_boundary_arn]
}

run "log_retention" {
  command = plan

  variables {
    log_retention_days = 31
  }

  expect_failures = [var.log_retention_days]
}

run "log_retention_for_ever" {
  command = plan

  variables {
    log_retention_days = 0
  }

  expect_failures = [var.log_retention_days]
}

run "key_alias" {
  command = plan

  variables {
    kms_key_arn = "alias/dags"
  }

  expect_failures = [var.kms_key_arn]
}

run "two_keys" {
  command = plan

  variables {
    create_kms_key = true
    kms_key_arn    = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }

  expect_failures = [var.kms_key_arn]
}

run "former_key_alias" {
  command = plan

  variables {
    former_kms_key_arns = ["arn:aws:kms:eu-west-1:123456789012:alias/dags"]
  }

  expect_failures = [var.former_kms_key_arns]
}

run "state_bucket_name" {
  command = plan

  variables {
    state_bucket_name = "Acme_State"
  }

  expect_failures = [var.state_bucket_name]
}

run "visibility_under_six_times" {
  command = plan

  variables {
    queue_visibility_timeout = 1799
  }

  expect_failures = [var.queue_visibility_timeout]
}

run "visibility_over_half_a_day" {
  command = plan

  variables {
    queue_visibility_timeout = 43201
  }

  expect_failures = [var.queue_visibility_timeout]
}

run "batch_size" {
  command = plan

  variables {
    batch_size = 10001
  }

  expect_failures = [var.batch_size]
}

run "batch_window_over_300" {
  command = plan

  variables {
    batch_window = 301
  }

  expect_failures = [var.batch_window]
}

run "batch_window_of_0" {
  command = plan

  variables {
    batch_window = 0
  }

  expect_failures = [var.batch_window]
}

run "max_concurrency_of_1" {
  command = plan

  variables {
    max_concurrency = 1
  }

  expect_failures = [var.max_concurrency]
}

run "max_concurrency_over_1000" {
  command = plan

  variables {
    max_concurrency = 1001
  }

  expect_failures = [var.max_concurrency]
}

run "schedule_grammar" {
  command = plan

  variables {
    reconcile_schedule = "rate(1 minutes)"
  }

  expect_failures = [var.reconcile_schedule]
}

run "schedule_without_rate" {
  command = plan

  variables {
    reconcile_schedule = "5 minutes"
  }

  expect_failures = [var.reconcile_schedule]
}

run "schedule_too_rare" {
  command = plan

  variables {
    reconcile_schedule = "rate(13 hours)"
  }

  expect_failures = [var.reconcile_schedule]
}

run "topic_is_fifo" {
  command = plan

  variables {
    alarm_topic_arn = "arn:aws:sns:eu-west-1:123456789012:ops.fifo"
  }

  expect_failures = [var.alarm_topic_arn]
}

run "topic_of_another_region" {
  command = plan

  variables {
    alarm_topic_arn = "arn:aws:sns:eu-central-1:123456789012:ops"
  }

  expect_failures = [var.alarm_topic_arn]
}

run "topic_given_and_created" {
  command = plan

  variables {
    create_alarm_topic = true
    alarm_topic_arn    = "arn:aws:sns:eu-west-1:123456789012:ops"
  }

  expect_failures = [var.create_alarm_topic]
}

run "mail_address" {
  command = plan

  variables {
    alarm_emails = ["ops"]
  }

  expect_failures = [var.alarm_emails]
}

run "mails_with_a_given_topic" {
  command = plan

  variables {
    alarm_emails    = ["ops@example.com"]
    alarm_topic_arn = "arn:aws:sns:eu-west-1:123456789012:ops"
  }

  expect_failures = [var.alarm_emails]
}

run "oldest_message" {
  command = plan

  variables {
    oldest_message_seconds = 30
  }

  expect_failures = [var.oldest_message_seconds]
}

run "tags" {
  command = plan

  variables {
    tags = { "aws:team" = "data" }
  }

  expect_failures = [var.tags]
}

run "bucket_in_another_region" {
  command = plan

  override_data {
    target = data.aws_s3_bucket.existing
    values = { bucket_region = "us-east-1" }
  }

  expect_failures = [aws_sqs_queue_policy.events]
}

run "policy_too_long" {
  command = plan

  variables {
    routes = [for i in range(100) : {
      name       = "team-${i}"
      sources    = [{ url = "s3://acme-dags/a-rather-long-folder-for-the-dags-of-one-team/team-${i}/dags/" }]
      deployment = "clmh57jtm000008lb58fe2${i}"
      token      = "aws-sm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:astro/team-${i}-AbCdEf"
    }]
  }

  expect_failures = [aws_iam_role_policy.function]
}

# What looks odd and is right.
run "accepted" {
  command = plan

  variables {
    name               = "a"
    timeout            = 421
    reconcile_schedule = "cron(0/5 * * * ? *)"
    routes = [{
      name         = "-"
      sources      = [{ url = "s3://My_Old.Bucket/DAGs of µ+%/", mount = "a/b/" }, { url = "s3://acme-dags/" }]
      deployment   = "d"
      quiet_period = "0"
      max_wait     = "5m0.5s500ms"
      limits       = { max_bytes = "500 MB" }
      base_dir     = ""
    }]
  }

  assert {
    condition     = yamldecode(aws_s3_object.config.content).routes[0].sources[0].url == "s3://My_Old.Bucket/DAGs of µ+%/"
    error_message = "The URL is changed."
  }
}
