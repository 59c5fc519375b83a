mock_provider "google" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  project  = "acme-data"
  region   = "europe-west1"
  zip_file = "tests/function.zip"
  routes = [{
    name       = "prod"
    deployment = "clmh57jtm000008lb58fe2wmv"
    sources    = [{ url = "gs://acme-dags/dags/" }]
  }]
}

run "project_number" {
  command = plan

  variables {
    project = "123456789012"
  }

  expect_failures = [var.project]
}

run "project_upper_case" {
  command = plan

  variables {
    project = "Acme-Data"
  }

  expect_failures = [var.project]
}

run "zone_for_region" {
  command = plan

  variables {
    region = "europe-west1-b"
  }

  expect_failures = [var.region]
}

run "multi_region_for_region" {
  command = plan

  variables {
    region = "eu"
  }

  expect_failures = [var.region]
}

run "name_with_capitals" {
  command = plan

  variables {
    name = "DagBucket"
  }

  expect_failures = [var.name]
}

run "name_ends_with_dash" {
  command = plan

  variables {
    name = "dagbucket-"
  }

  expect_failures = [var.name]
}

run "name_begins_with_goog" {
  command = plan

  variables {
    name = "goog-dags"
  }

  expect_failures = [var.name]
}

run "name_with_google" {
  command = plan

  variables {
    name = "dags-of-google"
  }

  expect_failures = [var.name]
}

run "label_with_capitals" {
  command = plan

  variables {
    labels = { Team = "data" }
  }

  expect_failures = [var.labels]
}

run "no_routes" {
  command = plan

  variables {
    routes = []
  }

  expect_failures = [var.routes]
}

run "route_name_with_capitals" {
  command = plan

  variables {
    routes = [{ name = "Prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }] }]
  }

  expect_failures = [var.routes]
}

run "route_names_twice" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }] }, { name = "prod", deployment = "clmh57jtm000008lb58fe2two", sources = [{ url = "gs://acme-dags/dags/" }] }]
  }

  expect_failures = [var.routes]
}

run "deployment_is_a_url" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "https://cloud.astronomer.io/clmg/deployments/clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }] }]
  }

  expect_failures = [var.routes]
}

run "deployment_is_a_token" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9", sources = [{ url = "gs://acme-dags/dags/" }] }]
  }

  expect_failures = [var.routes]
}

run "organization_is_a_name" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], organization = "Acme Data" }]
  }

  expect_failures = [var.routes]
}

run "two_routes_to_one_deployment" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }] }, { name = "test", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }] }]
  }

  expect_failures = [var.routes]
}

run "route_without_source" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [] }]
  }

  expect_failures = [var.routes]
}

run "source_of_the_other_cloud" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "s3://acme-dags/dags/" }] }]
  }

  expect_failures = [var.routes]
}

run "source_is_a_directory" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "file:///srv/dags/" }] }]
  }

  expect_failures = [var.routes]
}

run "prefix_without_slash" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags" }] }]
  }

  expect_failures = [var.routes]
}

run "bucket_with_capitals" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://Acme-Dags/dags/" }] }]
  }

  expect_failures = [var.routes]
}

run "prefix_with_two_slashes" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags//team/" }] }]
  }

  expect_failures = [var.routes]
}

run "source_twice" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }, { url = "gs://acme-dags/dags/" }] }]
  }

  expect_failures = [var.routes]
}

run "mount_with_leading_slash" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/", mount = "/ml" }] }]
  }

  expect_failures = [var.routes]
}

run "mount_upwards" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/", mount = "ml/../.." }] }]
  }

  expect_failures = [var.routes]
}

run "mount_with_backslash" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/", mount = "ml\\etl" }] }]
  }

  expect_failures = [var.routes]
}

run "duration_without_unit" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], quiet_period = "10" }]
  }

  expect_failures = [var.routes]
}

run "duration_with_days" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], max_wait = "1d" }]
  }

  expect_failures = [var.routes]
}

run "max_wait_below_quiet_period" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], quiet_period = "2m", max_wait = "1m30s" }]
  }

  expect_failures = [var.routes]
}

run "quiet_period_over_the_default_max_wait" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], quiet_period = "4m" }]
  }

  expect_failures = [var.routes]
}

run "percent_over_100" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], guard = { max_removed_percent = 101 } }]
  }

  expect_failures = [var.routes]
}

run "negative_files" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], guard = { max_removed_files = -1 } }]
  }

  expect_failures = [var.routes]
}

run "half_a_bundle" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], keep_bundles = 1.5 }]
  }

  expect_failures = [var.routes]
}

run "size_in_words" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], limits = { max_bytes = "two gigabytes" } }]
  }

  expect_failures = [var.routes]
}

run "syntax_unknown" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], syntax = "strict" }]
  }

  expect_failures = [var.routes]
}

run "syntax_of_a_source_unknown" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/", syntax = "strict" }] }]
  }

  expect_failures = [var.routes]
}

run "on_drift_unknown" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], on_drift = "overwrite" }]
  }

  expect_failures = [var.routes]
}

run "base_dir_unknown" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], base_dir = "plugins" }]
  }

  expect_failures = [var.routes]
}

run "token_in_the_environment" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], token = "env:ASTRO_API_TOKEN" }]
  }

  expect_failures = [var.routes]
}

run "token_in_a_file" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], token = "file:/secrets/token" }]
  }

  expect_failures = [var.routes]
}

run "token_of_the_other_cloud" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], token = "aws-ssm:/astro/token" }]
  }

  expect_failures = [var.routes]
}

run "token_without_version" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], token = "gcp-sm:projects/acme-data/secrets/astro" }]
  }

  expect_failures = [var.routes]
}

run "token_of_the_created_secret" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], token = "gcp-sm:projects/acme-data/secrets/dagbucket-token/versions/latest" }]
  }

  expect_failures = [var.routes]
}

run "token_of_token_secret" {
  command = plan

  variables {
    token_secret = "projects/acme-data/secrets/astro"
    routes = [
      { name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }] },
      { name = "test", deployment = "clmh57jtm000008lb58fe2tes", sources = [{ url = "gs://acme-dags/test/" }], token = "gcp-sm:projects/acme-data/secrets/astro/versions/3" },
    ]
  }

  expect_failures = [var.routes]
}

run "status_without_slash" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], status = "gs://acme-dags-status/prod" }]
  }

  expect_failures = [var.routes]
}

run "status_inside_a_source" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], status = "gs://acme-dags/dags/status/" }]
  }

  expect_failures = [var.routes]
}

run "status_twice" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], status = "gs://acme-dags-status/prod/" }, { name = "test", deployment = "clmh57jtm000008lb58fe2two", sources = [{ url = "gs://acme-dags/dags/" }], status = "gs://acme-dags-status/prod/" }]
  }

  expect_failures = [var.routes]
}

run "notify_the_other_cloud" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], notify = ["sns:arn:aws:sns:eu-west-1:123456789012:dags"] }]
  }

  expect_failures = [var.routes]
}

run "notify_by_a_topics_name" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], notify = ["pubsub:dags"] }]
  }

  expect_failures = [var.routes]
}

run "notify_in_the_clear" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], notify = ["webhook:http://hooks.example.com/x"] }]
  }

  expect_failures = [var.routes]
}

run "notify_the_environment" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], notify = ["slack:env:SLACK_WEBHOOK_URL"] }]
  }

  expect_failures = [var.routes]
}

run "notify_by_broken_json" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], notify = ["{to: sns}"] }]
  }

  expect_failures = [var.routes]
}

run "notify_nobody" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], notify = [jsonencode({ events = ["failed"] })] }]
  }

  expect_failures = [var.routes]
}

run "notify_with_an_unknown_key" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], notify = [jsonencode({ to = "pubsub:projects/acme-data/topics/dags", when = "failed" })] }]
  }

  expect_failures = [var.routes]
}

run "notify_of_something_else" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], notify = [jsonencode({ to = "pubsub:projects/acme-data/topics/dags", events = ["everything"] })] }]
  }

  expect_failures = [var.routes]
}

run "notify_of_nothing" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], notify = [jsonencode({ to = "pubsub:projects/acme-data/topics/dags", events = [] })] }]
  }

  expect_failures = [var.routes]
}

run "notify_a_topic_in_a_format" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], notify = [jsonencode({ to = "pubsub:projects/acme-data/topics/dags", format = "json" })] }]
  }

  expect_failures = [var.routes]
}

run "notify_signed_by_a_secret_itself" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], notify = [jsonencode({ to = "webhook:https://hooks.example.com/x", secret = "hunter2" })] }]
  }

  expect_failures = [var.routes]
}

run "notify_a_topic_signed" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], notify = [jsonencode({ to = "pubsub:projects/acme-data/topics/dags", secret = "gcp-sm:projects/p/secrets/s/versions/latest" })] }]
  }

  expect_failures = [var.routes]
}

run "notify_twice" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], notify = ["pubsub:projects/acme-data/topics/dags", jsonencode({ to = "pubsub:projects/acme-data/topics/dags", events = ["failed"] })] }]
  }

  expect_failures = [var.routes]
}

run "notify_itself" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], notify = ["pubsub:projects/acme-data/topics/dagbucket-events"] }]
  }

  expect_failures = [var.routes]
}

run "notify_by_the_token" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], notify = ["slack:gcp-sm:projects/acme-data/secrets/dagbucket-token/versions/latest"] }]
  }

  expect_failures = [var.routes]
}

run "bucket_that_is_no_source" {
  command = plan

  variables {
    buckets = { acme-dag = {} }
  }

  expect_failures = [var.buckets]
}

run "create_in_another_project" {
  command = plan

  variables {
    buckets = { acme-dags = { create = true, project = "acme-ingest" } }
  }

  expect_failures = [var.buckets]
}

run "create_with_a_dot" {
  command = plan

  variables {
    routes  = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://dags.acme.com/dags/" }] }]
    buckets = { "dags.acme.com" = { create = true } }
  }

  expect_failures = [var.buckets]
}

run "key_for_an_existing_bucket" {
  command = plan

  variables {
    buckets = { acme-dags = { kms_key = "projects/acme-keys/locations/eu/keyRings/acme/cryptoKeys/dags" } }
  }

  expect_failures = [var.buckets]
}

run "bucket_location_unknown" {
  command = plan

  variables {
    buckets = { acme-dags = { location = "Belgium" } }
  }

  expect_failures = [var.buckets]
}

run "bucket_project_number" {
  command = plan

  variables {
    buckets = { acme-dags = { project = "123456789012" } }
  }

  expect_failures = [var.buckets]
}

run "token_secret_with_version" {
  command = plan

  variables {
    token_secret = "projects/acme-data/secrets/astro/versions/latest"
  }

  expect_failures = [var.token_secret]
}

run "token_for_token_secret" {
  command = plan

  variables {
    token_secret = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2ln"
  }

  expect_failures = [var.token_secret]
}

run "create_token_secret_contradicts" {
  command = plan

  variables {
    create_token_secret = false
  }

  expect_failures = [var.create_token_secret]
}

run "secret_location_unknown" {
  command = plan

  variables {
    token_secret_locations = ["eu"]
  }

  expect_failures = [var.token_secret_locations]
}

run "secret_location_without_key" {
  command = plan

  variables {
    token_secret_locations = ["europe-west4"]
    kms_key                = "projects/acme-keys/locations/europe-west1/keyRings/acme/cryptoKeys/dagbucket"
  }

  expect_failures = [var.token_secret_locations]
}

run "api_in_the_clear" {
  command = plan

  variables {
    astro_api_url = "http://api.astronomer.io/v1"
  }

  expect_failures = [var.astro_api_url]
}

run "trigger_unknown" {
  command = plan

  variables {
    trigger = "sqs"
  }

  expect_failures = [var.trigger]
}

run "eventarc_across_projects" {
  command = plan

  variables {
    trigger = "eventarc"
    buckets = { acme-dags = { project = "acme-ingest" } }
  }

  expect_failures = [var.trigger]
}

run "schedule_with_four_fields" {
  command = plan

  variables {
    schedule = "*/5 * * *"
  }

  expect_failures = [var.schedule]
}

run "scheduler_region_unknown" {
  command = plan

  variables {
    scheduler_region = "eu"
  }

  expect_failures = [var.scheduler_region]
}

run "runtime_too_old" {
  command = plan

  variables {
    runtime = "go122"
  }

  expect_failures = [var.runtime]
}

run "runtime_of_another_language" {
  command = plan

  variables {
    runtime = "python312"
  }

  expect_failures = [var.runtime]
}

run "memory_without_unit" {
  command = plan

  variables {
    memory = "512"
  }

  expect_failures = [var.memory]
}

run "memory_too_small" {
  command = plan

  variables {
    memory = "256Mi"
  }

  expect_failures = [var.memory]
}

run "memory_beyond_the_cpu" {
  command = plan

  variables {
    memory = "8Gi"
  }

  expect_failures = [var.memory]
}

run "memory_below_the_cpu" {
  command = plan

  variables {
    memory = "1Gi"
    cpu    = "4"
  }

  expect_failures = [var.memory]
}

run "cpu_below_one" {
  command = plan

  variables {
    cpu = "0.5"
  }

  expect_failures = [var.cpu]
}

run "timeout_beyond_the_deadline" {
  command = plan

  variables {
    timeout = 600
  }

  expect_failures = [var.timeout]
}

run "timeout_below_max_wait" {
  command = plan

  variables {
    timeout = 299
  }

  expect_failures = [var.timeout]
}

run "timeout_below_a_long_max_wait" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], max_wait = "7m0.5s" }]
  }

  expect_failures = [var.timeout]
}

run "concurrency_zero" {
  command = plan

  variables {
    concurrency = 0
  }

  expect_failures = [var.concurrency]
}

run "min_instances_over_max" {
  command = plan

  variables {
    min_instances = 11
  }

  expect_failures = [var.min_instances]
}

run "max_instances_zero" {
  command = plan

  variables {
    max_instances = 0
    min_instances = 0
  }

  expect_failures = [var.max_instances]
}

run "ingress_unknown" {
  command = plan

  variables {
    ingress = "internal"
  }

  expect_failures = [var.ingress]
}

run "vpc_both" {
  command = plan

  variables {
    vpc = { connector = "projects/acme-data/locations/europe-west1/connectors/acme", network = "acme" }
  }

  expect_failures = [var.vpc]
}

run "vpc_neither" {
  command = plan

  variables {
    vpc = { all_traffic = true }
  }

  expect_failures = [var.vpc]
}

run "vpc_connector_by_name" {
  command = plan

  variables {
    vpc = { connector = "acme" }
  }

  expect_failures = [var.vpc]
}

run "zip_missing" {
  command = plan

  variables {
    zip_file = "tests/missing.zip"
  }

  expect_failures = [var.zip_file]
}

run "zip_twice" {
  command = plan

  variables {
    zip_gcs = { bucket = "acme-code", object = "cloudfunction.zip", generation = 1764000000000000 }
  }

  expect_failures = [var.zip_file]
}

run "zip_without_generation" {
  command = plan

  variables {
    zip_file = null
    zip_gcs  = { bucket = "acme-code", object = "cloudfunction.zip", generation = 0 }
  }

  expect_failures = [var.zip_gcs]
}

run "state_is_a_source" {
  command = plan

  variables {
    state_bucket = "acme-dags"
  }

  expect_failures = [var.state_bucket]
}

run "state_by_default_is_a_source" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-data-dagbucket-state/dags/" }] }]
  }

  expect_failures = [var.state_bucket]
}

run "state_is_a_created_bucket" {
  command = plan

  variables {
    buckets = { acme-data-dagbucket-state = { create = true } }
  }

  expect_failures = [var.state_bucket]
}

run "state_with_status" {
  command = plan

  variables {
    routes = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/dags/" }], status = "gs://acme-data-dagbucket-state/pages/" }]
  }

  expect_failures = [var.state_bucket]
}

run "state_named_google" {
  command = plan

  variables {
    state_bucket = "google-state"
  }

  expect_failures = [var.state_bucket]
}

run "state_versions_for_no_time" {
  command = plan

  variables {
    state_version_days = 0
  }

  expect_failures = [var.state_version_days]
}

run "back_off_too_short" {
  command = plan

  variables {
    retry_min_backoff = 10
  }

  expect_failures = [var.retry_min_backoff]
}

run "back_off_shrinks" {
  command = plan

  variables {
    retry_min_backoff = 120
    retry_max_backoff = 60
  }

  expect_failures = [var.retry_max_backoff]
}

run "too_few_attempts" {
  command = plan

  variables {
    max_delivery_attempts = 3
  }

  expect_failures = [var.max_delivery_attempts]
}

run "messages_for_too_long" {
  command = plan

  variables {
    message_retention_days = 32
  }

  expect_failures = [var.message_retention_days]
}

run "dead_letters_for_too_long" {
  command = plan

  variables {
    dead_letter_retention_days = 32
  }

  expect_failures = [var.dead_letter_retention_days]
}

run "key_of_another_region" {
  command = plan

  variables {
    kms_key = "projects/acme-keys/locations/us-central1/keyRings/acme/cryptoKeys/dagbucket"
  }

  expect_failures = [var.kms_key]
}

run "key_with_version" {
  command = plan

  variables {
    kms_key = "projects/acme-keys/locations/europe-west1/keyRings/acme/cryptoKeys/dagbucket/cryptoKeyVersions/1"
  }

  expect_failures = [var.kms_key]
}

run "use_kms_key_without_key" {
  command = plan

  variables {
    use_kms_key = true
  }

  expect_failures = [var.use_kms_key]
}

run "settles_for_too_long" {
  command = plan

  variables {
    settle_seconds = 601
  }

  expect_failures = [var.settle_seconds]
}

run "logs_for_too_long" {
  command = plan

  variables {
    log_retention_days = 3651
  }

  expect_failures = [var.log_retention_days]
}

run "no_email_address" {
  command = plan

  variables {
    alarm_emails = ["data"]
  }

  expect_failures = [var.alarm_emails]
}

run "no_channel" {
  command = plan

  variables {
    notification_channels = ["data@example.com"]
  }

  expect_failures = [var.notification_channels]
}

run "durations_that_are_good" {
  command = plan

  variables {
    routes = [
      { name = "a", deployment = "a", sources = [{ url = "gs://acme-dags/a/" }], quiet_period = "0", max_wait = "7m" },
      { name = "b", deployment = "b", sources = [{ url = "gs://acme-dags/b/" }], quiet_period = "1m30s", max_wait = "0.1h" },
      { name = "c", deployment = "c", sources = [{ url = "gs://acme-dags/c/" }], quiet_period = "500ms", max_wait = "90.5s" },
      { name = "d", deployment = "d", sources = [{ url = "gs://acme-dags/d/" }], quiet_period = "250us", max_wait = "1m250ms" },
    ]
  }

  assert {
    condition     = length(yamldecode(google_storage_bucket_object.config.content).routes) == 4
    error_message = "Every form of a duration that the program reads is accepted."
  }
}
