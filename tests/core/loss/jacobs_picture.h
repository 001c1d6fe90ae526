#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "tests/core/loss/jacobs_demo.h"

namespace switchyard::test::jacobs {

/// One half of the picture: targets, experts and mixture above, the gate's shares below.
struct Panel {
  double left;
  const char* title;
  const char* formula;
  Mixture mixture;
  Ownership found;
};

constexpr double kWidth = 420, kPlotTop = 92, kPlotHeight = 280, kGateTop = 396, kGateHeight = 84;
constexpr int64_t kSamples = 101;
constexpr double kHighest = 5.0;  // the plot shows −5 to 5
const char* const kColours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                "#e69f00", "#56b4e9", "#7a5195", "#8c564b"};

inline double to_x(const Panel& panel, double x) {
  return panel.left + (x - kLeft) / (kRight - kLeft) * kWidth;
}

inline double to_y(double y) {
  return kPlotTop + (kHighest - y) / (2 * kHighest) * kPlotHeight;
}

inline std::string path(const std::vector<double>& xs, const std::vector<double>& ys) {
  std::string text;
  for (size_t i = 0; i < xs.size(); ++i)
    text += fmt::format("{}{:.1f} {:.1f}", i == 0 ? "M" : "L", xs[i], ys[i]);
  return text;
}

inline std::vector<double> column(const at::Tensor& values_TE, int64_t expert) {
  const auto column_T = values_TE.select(1, expert).contiguous();
  return {column_T.data_ptr<double>(), column_T.data_ptr<double>() + column_T.numel()};
}

/// Experts from left to right by where the gate uses them, so that colours mean the same place.
inline std::vector<int64_t> left_to_right(const Answer& answer, const at::Tensor& x_T) {
  const auto mass_E = answer.shares_TE.sum(0);
  const auto centre_E = (answer.shares_TE * x_T.unsqueeze(1)).sum(0) / mass_E;
  std::vector<int64_t> order(answer.shares_TE.size(1));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return centre_E[a].item<double>() < centre_E[b].item<double>();
  });
  return order;
}

/// An expert's whole line, thin, and thick where the gate gives it the largest share.
inline std::string expert_lines(const std::vector<double>& xs, const std::vector<double>& outputs,
                                const std::vector<bool>& leads, const char* colour) {
  std::vector<double> ys;
  for (const double output : outputs) ys.push_back(to_y(std::clamp(output, -100.0, 100.0)));
  std::string text = fmt::format("<path d=\"{}\" stroke=\"{}\" class=\"thin\"/>\n",
                                 path({xs.front(), xs.back()}, {ys.front(), ys.back()}), colour);
  for (size_t i = 0; i < xs.size(); ++i) {
    if (!leads[i]) continue;
    size_t last = i;
    while (last + 1 < xs.size() && leads[last + 1]) ++last;
    text += fmt::format("<path d=\"{}\" stroke=\"{}\" class=\"thick\"/>\n",
                        path({xs[i], xs[last]}, {ys[i], ys[last]}), colour);
    i = last;
  }
  return text;
}

inline std::string frame(const Panel& panel) {
  std::string text = fmt::format(
      "<text x=\"{0}\" y=\"34\" class=\"title\">{1}</text>\n"
      "<text x=\"{0}\" y=\"56\" class=\"formula\">{2}</text>\n"
      "<text x=\"{0}\" y=\"78\">mean squared error: mixture {3:.3f}, owner alone {4:.3f}</text>\n",
      panel.left, panel.title, panel.formula, panel.found.mixture_error, panel.found.owner_error);
  for (double x = kLeft; x <= kRight; ++x)
    text += fmt::format(
        "<path d=\"M{0:.1f} {1}V{2}\" class=\"grid\"/>\n"
        "<text x=\"{0:.1f}\" y=\"{3}\" class=\"tick\" text-anchor=\"middle\">{4:.0f}</text>\n",
        to_x(panel, x), kPlotTop, kGateTop + kGateHeight, kGateTop + kGateHeight + 16, x);
  for (const double y : {-3.0, 0.0, 3.0})
    text += fmt::format(
        "<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"tick\" text-anchor=\"end\">{:.0f}</text>\n",
        panel.left - 6, to_y(y) + 4, y);
  for (const int share : {0, 1})
    text += fmt::format(
        "<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"tick\" "
        "text-anchor=\"end\">{}</text>\n",
        panel.left - 6, kGateTop + kGateHeight * (1 - share) + 4, share);
  return text;
}

inline std::string draw(const Panel& panel, const Task& task) {
  const auto x_T = torch::linspace(kLeft, kRight, kSamples, torch::kDouble);
  const Answer answer = panel.mixture(x_T);
  const auto leader_T = answer.shares_TE.argmax(1);
  std::vector<double> xs, bottom(kSamples, kGateTop + kGateHeight);
  for (int64_t t = 0; t < kSamples; ++t) xs.push_back(to_x(panel, x_T[t].item<double>()));

  std::string text = frame(panel), gates, lines;
  text += fmt::format("<g clip-path=\"url(#clip{:.0f})\">\n", panel.left);
  const auto order = left_to_right(answer, x_T);
  for (size_t i = 0; i < order.size(); ++i) {
    const auto shares = column(answer.shares_TE, order[i]);
    std::vector<double> top, around_x = xs, around_y;
    std::vector<bool> leads;
    for (size_t t = 0; t < xs.size(); ++t) {
      top.push_back(bottom[t] - shares[t] * kGateHeight);
      leads.push_back(leader_T[t].item<int64_t>() == order[i]);
    }
    around_x.insert(around_x.end(), xs.rbegin(), xs.rend());
    around_y = top;
    around_y.insert(around_y.end(), bottom.rbegin(), bottom.rend());
    gates += fmt::format("<path d=\"{}Z\" fill=\"{}\" class=\"gate\"/>\n", path(around_x, around_y),
                         kColours[i % 8]);
    lines += expert_lines(xs, column(answer.outputs_TE, order[i]), leads, kColours[i % 8]);
    bottom = top;
  }
  for (int64_t t = 0; t < kPoints; t += 2)
    text += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.2\"/>\n",
                        to_x(panel, task.x_T[t].item<double>()),
                        to_y(task.targets_T[t].item<double>()));
  std::vector<double> mixture;
  for (const double y : column(answer.mixture_T().unsqueeze(1), 0)) mixture.push_back(to_y(y));
  return text + lines + fmt::format("<path d=\"{}\" class=\"mixture\"/>\n", path(xs, mixture)) +
         "</g>\n" + gates +
         fmt::format(
             "<rect x=\"{0}\" y=\"{1}\" width=\"{2}\" height=\"{3}\" class=\"box\"/>\n"
             "<rect x=\"{0}\" y=\"{4}\" width=\"{2}\" height=\"{5}\" class=\"box\"/>\n",
             panel.left, kPlotTop, kWidth, kPlotHeight, kGateTop, kGateHeight);
}

inline std::string legend() {
  return R"(<circle cx="58" cy="527" r="2.2"/><text x="68" y="531">target</text>
<path d="M130 527h30" class="thick" stroke="#0072b2"/>
<text x="168" y="531">expert, where its share is largest</text>
<path d="M418 527h30" class="thin" stroke="#0072b2"/>
<text x="456" y="531">elsewhere</text>
<path d="M550 527h30" class="mixture"/><text x="588" y="531">mixture Σ pᵢ oᵢ</text>
<text x="734" y="531">bottom: the gate's shares pᵢ</text>
)";
}

/// The whole picture as SVG text.
inline std::string picture(const std::vector<Panel>& panels, const Task& task) {
  std::string text =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 980 550\" role=\"img\" "
      "aria-labelledby=\"title desc\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n"
      "<title id=\"title\">Experts trained by the competitive and by the co-operative "
      "loss</title>\n"
      "<desc id=\"desc\">A zigzag target of four straight pieces. On the left, trained by the "
      "competitive loss, four experts each lie on one piece and the gate switches between them. On "
      "the right, trained by the co-operative loss, the mixture follows the target but no expert "
      "does, and the gate mixes several everywhere.</desc>\n<style>\n"
      "text { fill: #1f2933; } .title { font-size: 17px; font-weight: 600; }\n"
      ".formula { font-size: 14px; font-style: italic; } .tick { fill: #52606d; font-size: 11px; "
      "}\n"
      "path.thin, path.thick, path.mixture, path.grid { fill: none; } path.gate { stroke: #ffffff; "
      "stroke-width: 0.6; }\n"
      ".grid { stroke: #d3d9df; stroke-dasharray: 3 3; } circle { fill: #9aa5b1; }\n"
      ".thin { stroke-width: 1; opacity: 0.5; } .thick { stroke-width: 4; opacity: 0.85; }\n"
      ".mixture { stroke: #111111; stroke-width: 1.6; stroke-dasharray: 6 3; }\n"
      ".box { fill: none; stroke: #9aa5b1; }\n</style>\n"
      "<rect width=\"980\" height=\"550\" rx=\"8\" fill=\"#ffffff\"/>\n";
  for (const auto& panel : panels)
    text += fmt::format(
        "<clipPath id=\"clip{0:.0f}\"><rect x=\"{0}\" y=\"{1}\" width=\"{2}\" "
        "height=\"{3}\"/></clipPath>\n",
        panel.left, kPlotTop, kWidth, kPlotHeight);
  for (const auto& panel : panels) text += draw(panel, task);
  return text + legend() + "</svg>\n";
}

}  // namespace switchyard::test::jacobs
