# Without values for what is computed: as at a first apply.
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    override_during = plan
    defaults        = { account_id = "123456789012" }
  }

  mock_data "aws_partition" {
    override_during = plan
    defaults        = { dns_suffix = "amazonaws.com", partition = "aws" }
  }

  mock_data "aws_region" {
    override_during = plan
    defaults        = { region = "eu-west-1" }
  }
}

run "nothing_is_known_but_names" {
  command = plan

  module {
    source = "./tests/unknown"
  }

  assert {
    condition     = output.function_name == "dagbucket"
    error_message = "Something that is counted or named depends on an ARN."
  }
}

# One configuration may have the key, its policy from the module, and the module with the key: neither a cycle nor a second apply.
run "the_policy_of_a_key_that_is_given" {
  command = plan

  module {
    source = "./tests/own_key"
  }

  assert {
    condition     = [for s in jsondecode(output.key_policy).Statement : s.Sid] == ["Account", "EventsIntoQueue", "Logs", "AlarmsIntoTopic"]
    error_message = "The key's policy is not known before the first apply, when CloudWatch Logs needs it already."
  }

  assert {
    condition     = jsondecode(output.key_policy).Statement[2].Condition == { ArnEquals = { "kms:EncryptionContext:aws:logs:arn" = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/dagbucket" } }
    error_message = "The key's policy does not name the log group."
  }
}
