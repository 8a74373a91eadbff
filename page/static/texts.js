// Every word of the page, one row for each text and one column for each language. A third language is one more
// entry in LANGUAGES, one more column here, and nothing else.
// {name} stands for a value, [Esc] for a key of the keyboard.

export const LANGUAGES = {"en": "English", "zh-CN": "简体中文"};

export const TEXTS = {
  // ---------------------------------------------------------------- the paper
  "title": ["Why does a digit at the edge fool the network?", "为什么数字写在边上，网络就认错？"],
  "task": [
    "Draw a digit in the middle, then the same digit at the edge, and compare the answers. Then look inside, and find out why.",
    "先在中间写一个数字，再把同一个数字写到边上，比较网络的回答；然后“看看里面”，找出原因。",
  ],
  "language": ["Language", "语言"],
  "paper": ["Paper to draw a digit on", "画数字的纸"],
  "frame": ["MNIST’s digits lie here", "MNIST 的数字都在这个框里"],
  "clear": ["Clear", "清除"],
  "edge": ["Try the edge", "试试边上"],
  "hint": [
    "Draw with mouse, pen or finger. [Esc] clears. With the keyboard: on the paper, arrow keys move the pen, two together slantwise, and [Space] puts it down or lifts it.",
    "用鼠标、笔或手指书写，[Esc] 清除。用键盘：在纸上，方向键移动笔（同时按两个键走斜线），[空格] 落笔或抬笔。",
  ],
  "server-gone": [
    "The server does not answer. Start “python draw.py” again: your drawing stays, and the page goes on by itself.",
    "服务器没有回应。请重新运行 “python draw.py”：你的画还在，页面会自动继续。",
  ],

  // ---------------------------------------------------------------- the runs
  "run-left": ["Your network", "你的网络"],
  "run-right": ["To compare with", "对比的网络"],
  "choose-left": ["Which run is your network", "你的网络用哪一次训练"],
  "choose-right": ["Which run to compare with", "对比的网络用哪一次训练"],
  "follow-left": ["Newest: {run}", "最新：{run}"],
  "follow-right": ["Softmax: {run}", "softmax：{run}"],
  "convolutional": ["Convolutional", "卷积网络"],
  "softmax": ["Softmax regression", "softmax 回归"],
  "run-option": ["{run} ({facts})", "{run}（{facts}）"],
  "run-rate": ["learning rate {rate}", "学习率 {rate}"],
  "run-steps": ["{steps} steps", "{steps} 步"],
  "run-accuracy": ["{accuracy} · {option}", "{accuracy} · {option}"],
  "run-learning": ["In training: step {step} of {epochs}.", "正在训练：第 {step} 步，共 {epochs} 步。"],
  "run-at": ["Step {step} of {epochs}.", "第 {step} 步，共 {epochs} 步。"],
  "run-reads": [
    "Reads {accuracy} of {images} test digits ({data}).", "在 {images} 个测试数字（{data}）上的准确率为 {accuracy}。",
  ],
  "run-reads-some": ["Reads {accuracy} of the test digits.", "测试准确率为 {accuracy}。"],
  "run-untested": ["Not tested yet.", "还没有测试过。"],
  "no-run": ["No run is here yet: start “python mnist.py”.", "这里还没有训练过的网络：请运行 “python mnist.py”。"],
  "run-deleted": [
    "The run {run} is not there any more: {instead} is shown in its place.",
    "找不到 {run} 这次训练了，改为显示 {instead}。",
  ],
  "data-generated": ["generated digits, not MNIST", "程序生成的数字，不是 MNIST"],
  "data-files": ["the files in {folder}", "{folder} 中的文件"],
  "weak": [
    "It reads only {accuracy} of the test digits: do not trust it.", "它只认对 {accuracy} 的测试数字：不要相信它。",
  ],
  "best": ["Take the best run ({accuracy})", "换成最好的一次（{accuracy}）"],

  // ---------------------------------------------------------------- the two views and their verdicts
  "as-drawn": ["As drawn", "原样"],
  "as-drawn-why": [
    "Your drawing, shrunk to 28×28 pixels: this is what the networks see.",
    "把你的画缩小到 28×28 像素：网络看到的就是这个。",
  ],
  "centred": ["Centred", "居中"],
  "centred-why": [
    "The same lines, drawn anew as large as MNIST’s digits, their centre of mass in the middle.",
    "同样的笔画，按 MNIST 数字的大小重画，重心移到正中。",
  ],
  "picture": ["{view}: the 28×28 pixels that the networks see", "{view}：网络看到的 28×28 像素"],
  "nothing": ["nothing drawn", "还没有画"],
  "empty": ["The paper is empty.", "纸上是空的。"],
  "share": ["{digit}: {percent}", "{digit}：{percent}"],
  "comma": [", ", "，"],
  "space": [" ", ""],
  "card-left": ["Yours: {network}", "你的：{network}"],
  "card-right": ["{network}", "{network}"],
  "spoken": ["{view}: {answers}.", "{view}：{answers}。"],
  "spoken-answer": ["{network} {digit}", "{network} {digit}"],

  // ---------------------------------------------------------------- look inside
  "look-inside": ["Look inside", "看看里面"],
  "look-inside-why": ["Why do they answer so?", "网络为什么这样回答？"],
  "which-view": ["The layers for the picture", "下面各层看到的图像"],
  "which-network": ["Network", "网络"],
  "inside-empty": ["Draw something, and every layer answers.", "画点什么，每一层都会回应。"],

  "other-layers": [
    "This network’s layers are not those of mnist.py as it came (a ReLU is gone, or has another name): they are not shown.",
    "这个网络的层与 mnist.py 原来的不同（少了 ReLU，或者换了名字），所以不显示各层。",
  ],
  "dead": [
    "This network is dead: whatever you draw, nothing comes through one of its layers, so it gives the same answer to everything.",
    "这个网络已经“死亡”：无论画什么，它都有一层没有任何输出，所以对所有的画给出同样的回答。",
  ],
  "similar": ["What it has seen before", "它以前见过什么"],
  "similar-why": [
    "The six training digits most like the picture, and how much alike they are. The network has learned from such digits and from nothing else; where none is like yours, its answer is a guess, and it may be just as sure when it is wrong.",
    "训练数据中与这幅图最像的六个数字，以及相似程度。网络只从这样的数字中学习过；如果没有一个像你的画，它的回答就只是猜测，而猜错时它可能同样自信。",
  ],
  "similar-usual": [
    "For a test digit the best match is usually {usual}; for yours it is {drawn} as drawn and {centred} centred.",
    "测试数字的最佳匹配通常是 {usual}；你的画原样是 {drawn}，居中后是 {centred}。",
  ],
  "similar-middle": [
    "All training digits lie in the middle, none at the edge: it was never shown what a digit looks like there.",
    "训练数字都在正中，没有一个写在边上：它从来没有见过写在边上的数字。",
  ],
  "similar-one": ["a {label}, {likeness} alike", "数字 {label}，相似度 {likeness}"],
  "shift-title": ["The less alike, the more often wrong", "越不像，越容易认错"],
  "shift-x": ["likeness of the best match", "最佳匹配的相似度"],
  "shift-y": ["read correctly", "认对的比例"],
  "shift-point": ["{pixels} px", "{pixels} px"],
  "shift-what": [
    "Measured on a default run (98% of the test digits), not on the one chosen here: MNIST’s test digits, shifted to the right by so many pixels (px). The red lines are your drawing.",
    "这条曲线是用一次默认训练（测试准确率 98%）测得的，不是当前所选的这一次：把 MNIST 的测试数字向右移若干像素（px）。红线是你的画。",
  ],
  "shift-why": [
    "MNIST’s test digits, shifted to the right by 0 to 8 pixels: alike {likenesses}; read correctly by a default run {accuracies}.",
    "把 MNIST 的测试数字向右移 0 到 8 个像素：相似度依次为 {likenesses}；默认训练的网络认对的比例依次为 {accuracies}。",
  ],

  "conv": ["Convolutional layer: what the kernels find", "卷积层：卷积核找到了什么"],
  "conv-why": [
    "Each kernel slides over the picture; at every place it multiplies 5×5 pixels by its weights and adds them up. ReLU makes 0 of what is negative, then pooling keeps the largest of every 2×2 places.",
    "每个卷积核在图上滑动，在每个位置把 5×5 个像素与自己的权重相乘，再求和。ReLU 把负数变成 0，池化再从每 2×2 个位置中留下最大的一个。",
  ],
  "conv-pale": [
    "A pale background comes from the bias: it is all that a sum holds where there is no ink.",
    "淡淡的底色来自偏置：没有墨迹的地方，总和就只剩偏置。",
  ],
  "conv-hint": [
    "Click a kernel to see the sum behind each number of its feature map.", "点击一个卷积核，看特征图中每个数是怎样算出来的。",
  ],
  "kernel-says": [
    "Kernel {kernel}: strongest at row {row}, column {column}, with {value}; above 0 at {places} of 784 places",
    "卷积核 {kernel}：最强处在第 {row} 行第 {column} 列，值为 {value}；784 个位置中有 {places} 个大于 0",
  ],
  "kernel-silent": ["Kernel {kernel}: 0 everywhere", "卷积核 {kernel}：处处为 0"],
  "scale-weights": ["weights", "权重"],
  "scale-maps": ["feature maps", "特征图"],

  "sum-picture": ["picture", "图像"],
  "sum-map": ["after ReLU", "ReLU 之后"],
  "sum-pooled": ["after pooling", "池化之后"],
  "sum-place": ["Row {row}, column {column}", "第 {row} 行第 {column} 列"],
  "sum-hint": [
    "The sum at this place. Point at another in these pictures, or go there with the arrow keys.",
    "这是这个位置的计算。在下面的图上指向别的位置，或用方向键移过去。",
  ],
  "sum-close": ["× Close", "× 关闭"],
  "sum-pixels": ["25 pixels", "25 个像素"],
  "sum-weights": ["25 weights", "25 个权重"],
  "sum-products": ["25 products", "25 个乘积"],
  "sum-of-products": ["all products together", "乘积之和"],
  "sum-bias": ["bias", "偏置"],
  "sum-sum": ["sum", "总和"],
  "sum-relu-keeps": ["after ReLU (above 0: kept)", "ReLU 之后（大于 0：不变）"],
  "sum-relu-cuts": ["after ReLU (not above 0: 0)", "ReLU 之后（不大于 0：0）"],
  "sum-pooling": [
    "Of these 2×2 places pooling keeps the largest: {value}.", "池化从这 2×2 个位置中留下最大的：{value}。",
  ],
  "sum-rounded": [
    "Hatched: beyond the paper, where a pixel counts as 0. All is rounded to three decimals, some products up and some down, so that what you see adds up.",
    "斜线处在纸外，像素按 0 计算。所有数保留三位小数；为使加起来正好相等，有的乘积向上取，有的向下取。",
  ],
  "sum-spoken": [
    "Row {row}, column {column}: products {products}, bias {bias}, sum {sum}, after ReLU {relu}; pooling keeps {pooled}.",
    "第 {row} 行第 {column} 列：乘积之和 {products}，偏置 {bias}，总和 {sum}，ReLU 之后 {relu}；池化留下 {pooled}。",
  ],

  "hidden": ["First fully connected layer: what the neurons make of it", "第一个全连接层：神经元怎样回应"],
  "hidden-why": [
    "Each neuron weighs all {inputs} numbers of the layer before, adds them up, and ReLU makes 0 of what is negative. The stronger its answer, the fuller its dot.",
    "每个神经元给上一层的 {inputs} 个数各乘一个权重，再求和，ReLU 把负数变成 0。回应越强，圆点越浓。",
  ],
  "hidden-says": [
    "Neurons that answer: {active} of {neurons}; silent for this picture: {silent}.",
    "{neurons} 个神经元中有 {active} 个回应，{silent} 个对这幅图没有回应。",
  ],
  "hidden-dead": [
    "Dead among the silent, 0 for each of {tried} digits that were tried (×): {dead}.",
    "其中“死亡”的（×，对试过的 {tried} 个数字都输出 0）：{dead} 个。",
  ],
  "hidden-edge": [
    "Move your digit, and it moves in the feature maps too: a kernel has the same weights everywhere. These neurons have a weight of their own for each place of each map, and those for places at the edge hardly ever met ink in training: they have not learned what a line means there.",
    "数字移动时，它在特征图中也跟着移动，因为卷积核在各处用的是同一组权重。而这些神经元对每张图的每个位置各有一个权重，边上那些位置的权重在训练中几乎没有遇到过墨迹：它们没有学过那里的笔画意味着什么。",
  ],
  "hidden-strongest": ["The strongest is neuron {neuron}, with {value}.", "最强的是神经元 {neuron}，值为 {value}。"],

  "logits": ["Ten logits, and what softmax makes of them", "十个 logit，以及 softmax 的结果"],
  "logits-why": [
    "A logit says how much speaks for a digit. Only the differences count: all ten may lie below 0. Softmax turns them into percentages; the largest is the answer.",
    "logit 表示支持这个数字的理由有多强。重要的只是它们之间的差：十个也可能全都小于 0。softmax 把它们变成百分比，最大的就是答案。",
  ],
  "digit": ["digit", "数字"],
  "logit": ["logit", "logit"],
  "softmax-share": ["softmax", "softmax"],

  "votes": ["One layer: every pixel votes", "只有一层：每个像素都投票"],
  "votes-why": [
    "For each digit this network has one weight for every pixel. Weight times ink is a vote, for the digit or against it; all votes and a bias make its logit.",
    "对每个数字，这个网络给每个像素一个权重。权重乘以墨迹就是一票，赞成或反对；所有的票加上偏置，就是 logit。",
  ],
  "votes-answer": ["Its answer: {digit}", "它的回答：{digit}"],
  "votes-pick": ["Why not a …?", "为什么不是……？"],
  "votes-other": ["Why not a {digit}?", "为什么不是 {digit}？"],
  "votes-picture": [
    "Votes of the pixels: for the {digit} {plus}, against it {minus}", "像素对 {digit} 的投票：赞成 {plus}，反对 {minus}",
  ],
  "votes-weights": ["weights", "权重"],
  "votes-map": ["weight × ink", "权重 × 墨迹"],
  "votes-for": ["for", "赞成"],
  "votes-against": ["against", "反对"],

  // ---------------------------------------------------------------- what the server refuses, by its code
  "not-json": ["The body of the request is not JSON.", "请求的内容不是 JSON。"],
  "not-an-image": ["An image is a JSON array of 784 numbers, row by row.", "图像应是 784 个数组成的 JSON 数组，逐行排列。"],
  "not-a-pixel": ["A pixel is not a number from 0 (paper) to 1 (ink).", "有的像素不是 0（纸）到 1（墨）之间的数。"],
  "not-a-drawing": ["The drawing is not a list of strokes.", "这幅画不是由笔画组成的列表。"],
  "not-two-runs": ["The request must name two runs.", "请求必须指明两次训练。"],
  "not-a-question": ["The request must hold an image and a run.", "请求必须包含一幅图像和一次训练的名称。"],
  "no-such-run": ["This run is not there any more: choose another.", "这次训练已经不在了：请另选一次。"],
  "damaged-run": ["The run’s saved network is damaged: choose another run.", "这次训练保存的网络已损坏：请另选一次。"],
  "unreadable-run": ["The run’s saved network cannot be read: choose another run.", "无法读取这次训练保存的网络：请另选一次。"],
  "other-network": [
    "mnist.py now builds another network than this run has: choose another run.",
    "mnist.py 现在构建的网络与这次训练的不同：请另选一次。",
  ],
  "overflow": [
    "This network’s weights are so large that it gives no finite number: choose another run.",
    "这个网络的权重太大，算不出有限的数：请另选一次。",
  ],
  "out-of-memory": [
    "There is not enough memory for this network: end other programs, or choose another run.",
    "内存不足，无法使用这个网络：请关闭其他程序，或另选一次训练。",
  ],
  "busy-run": ["The run is just being saved: the page asks again.", "这次训练正在保存：页面会再次询问。"],
  "other-host": [
    "Use the address that draw.py prints, or this machine’s IP address.", "请使用 draw.py 显示的地址，或这台机器的 IP 地址。",
  ],
  "other-site": ["Pages of other sites get no answer here.", "其他网站的页面在这里得不到回答。"],
  "not-found": ["There is nothing at this path.", "这个地址没有内容。"],
  "method-not-allowed": ["This path does not take this method.", "这个地址不接受这种请求方法。"],
  "request-entity-too-large": [
    "The drawing is too long for one request: clear the paper.", "这幅画太长，一次请求发不完：请清除后重画。",
  ],
  "internal-server-error": [
    "The server made an error of its own; its terminal tells which.", "服务器自己出了错，它的终端里有说明。",
  ],

  // ---------------------------------------------------------------- why no training digits are shown, by the server's code
  "reading": ["The training digits are being read …", "正在读取训练数据……"],
  "no-data": [
    "The data that this run was trained on is not on this machine: nothing can be compared.",
    "这台机器上没有这次训练所用的数据，无法比较。",
  ],
  "unreadable-data": [
    "The files of this run’s training data are malformed: nothing can be compared.", "这次训练的数据文件有误，无法比较。",
  ],
  "blank": ["There is no ink in this picture: nothing can be compared.", "图中没有墨迹，无法比较。"],
};

const preferred = navigator.languages.map(tag => tag.split("-")[0])
  .map(short => Object.keys(LANGUAGES).find(language => language.split("-")[0] === short));
let column = 0;

export const language = () => Object.keys(LANGUAGES)[column];

export function speakLanguage(chosen) {
  column = Math.max(0, Object.keys(LANGUAGES).indexOf(chosen ?? preferred.find(Boolean)));
  document.documentElement.lang = language();
}

export const has = key => key in TEXTS;

export function text(key, values = {}) {
  return TEXTS[key][column].replace(/\{([a-z]+)\}/g, (_, name) => values[name]);
}

export function number(value, decimals = 0) {
  const format = {minimumFractionDigits: decimals, maximumFractionDigits: decimals, signDisplay: "negative"};
  return value.toLocaleString(language(), format).replace("-", "−");
}

export const percent = (share, decimals = 0) => `${number(100 * share, decimals)}%`;
